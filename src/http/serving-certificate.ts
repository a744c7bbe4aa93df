import { createPrivateKey, X509Certificate } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import type { Clock } from '../shared/clock.ts'
import { errorText, InvalidInputError } from '../shared/errors.ts'
import type { Logger } from '../shared/logger.ts'
import { systemErrorReason } from '../shared/system-error.ts'
import { selfSignedCertificate, type CertificatePair } from './self-signed-certificate.ts'

/** Source of the TLS listener's certificate. */
export type CertificateSource =
  | { readonly kind: 'files'; readonly certFile: string; readonly keyFile: string }
  | { readonly kind: 'selfSigned' }

export interface ServingCertificateOptions {
  readonly source: CertificateSource
  /** Directory of the self-signed pair. */
  readonly stateDirectory: string
  readonly nodeName: string
  readonly clock: Clock
  readonly logger: Logger
}

/** The TLS listener's certificate, kept up to date while the agent runs. */
export interface ServingCertificate {
  readonly current: () => CertificatePair
  /** SHA-256 of the certificate, `AA:BB:…` as openssl prints it. */
  readonly fingerprint: () => string
  /** Calls the listener with each new pair. */
  readonly onChange: (listener: (pair: CertificatePair) => void) => void
  /** Checks once for a new pair. */
  readonly refresh: () => Promise<void>
  readonly stop: () => void
}

/** Interval between checks for a new pair; cert-manager and the kubelet replace files long before expiry. */
const REFRESH_MS = 60_000

/**
 * Loads the certificate and keeps it up to date. Throws InvalidInputError if the files are unusable at startup; later
 * errors leave the current pair in use.
 */
export async function loadServingCertificate(options: ServingCertificateOptions): Promise<ServingCertificate> {
  const { logger } = options
  let pair = await read(options)
  const listeners: ((pair: CertificatePair) => void)[] = []

  const refresh = async () => {
    try {
      const next = await read(options)
      if (next.key === pair.key && next.certificate === pair.certificate) return
      pair = next
      for (const listener of listeners) listener(next)
      logger.info({ fingerprint: fingerprintOf(next) }, 'TLS certificate replaced')
    } catch (error) {
      // The files may be half replaced; the next check finds them complete.
      logger.warn({ err: error }, 'TLS certificate cannot be read again, the old one stays in use')
    }
  }
  const timer = setInterval(() => void refresh(), REFRESH_MS)
  timer.unref()

  return {
    current: () => pair,
    fingerprint: () => fingerprintOf(pair),
    onChange: (listener) => void listeners.push(listener),
    refresh,
    stop: () => clearInterval(timer),
  }
}

function read(options: ServingCertificateOptions): Promise<CertificatePair> {
  const { source, stateDirectory, nodeName, clock } = options
  if (source.kind === 'selfSigned') return selfSignedCertificate({ directory: stateDirectory, nodeName, clock })
  return readFiles(source)
}

async function readFiles({ certFile, keyFile }: { certFile: string; keyFile: string }): Promise<CertificatePair> {
  const certificate = await readPem(certFile)
  const key = await readPem(keyFile)
  const parsed = parse(certFile, () => new X509Certificate(certificate))
  const privateKey = parse(keyFile, () => createPrivateKey(key))
  if (!parsed.checkPrivateKey(privateKey)) {
    throw invalid(`Cannot use TLS certificate "${certFile}": the key in "${keyFile}" is not its key`)
  }
  return { key, certificate }
}

async function readPem(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8')
  } catch (error) {
    throw invalid(`Cannot read TLS file "${path}": ${systemErrorReason(error)}`, error)
  }
}

function parse<Parsed>(path: string, parser: () => Parsed): Parsed {
  try {
    return parser()
  } catch (error) {
    throw invalid(`Cannot use TLS file "${path}": ${errorText(error)}`, error)
  }
}

function invalid(message: string, cause?: unknown): InvalidInputError {
  return new InvalidInputError(message, {
    code: 'InvalidCertificate',
    hint: 'server.tls.certFile and server.tls.keyFile must be PEM files that the agent may read and that belong together.',
    cause,
  })
}

function fingerprintOf({ certificate }: CertificatePair): string {
  return new X509Certificate(certificate).fingerprint256
}
