import { createPrivateKey, webcrypto, X509Certificate } from 'node:crypto'
import { chmod, readFile, rename, writeFile } from 'node:fs/promises'
import { isIP } from 'node:net'
import { join } from 'node:path'
import type { Clock } from '../shared/clock.ts'
import { isSystemError } from '../shared/errors.ts'
import { makePrivateFolder } from './private-folder.ts'
import { importX509 } from './x509-library.ts'

/** A private key and its certificate, as PEM. */
export interface CertificatePair {
  readonly key: string
  readonly certificate: string
}

export interface SelfSignedOptions {
  readonly directory: string
  readonly nodeName: string
  readonly clock: Clock
}

const KEY_FILE = 'tls-key.pem'
const CERTIFICATE_FILE = 'tls-certificate.pem'

const DAY_MS = 24 * 60 * 60 * 1000
const VALID_DAYS = 365
/** Days before expiry at which the certificate is renewed, so that clients never see an expired one. */
const RENEW_DAYS = 30
/** Backdating that tolerates clients with a slow clock. */
const BACKDATED_MS = 60 * 60 * 1000

/**
 * Returns the certificate in this directory. Creates a new one if it is missing, damaged, near its expiry or for
 * another node name.
 */
export async function selfSignedCertificate(options: SelfSignedOptions): Promise<CertificatePair> {
  const kept = await readKept(options.directory)
  if (kept !== undefined && isUsable(kept, options)) return kept

  const made = await generate(options)
  await makePrivateFolder(options.directory)
  await writeWhole(join(options.directory, KEY_FILE), made.key, 0o600)
  await writeWhole(join(options.directory, CERTIFICATE_FILE), made.certificate, 0o644)
  return made
}

async function readKept(directory: string): Promise<CertificatePair | undefined> {
  try {
    const key = await readFile(join(directory, KEY_FILE), 'utf8')
    await chmod(join(directory, KEY_FILE), 0o600)
    return { key, certificate: await readFile(join(directory, CERTIFICATE_FILE), 'utf8') }
  } catch (error) {
    if (isSystemError(error, 'ENOENT')) return undefined
    throw error
  }
}

function isUsable({ key, certificate }: CertificatePair, { nodeName, clock }: SelfSignedOptions): boolean {
  try {
    const parsed = new X509Certificate(certificate)
    const now = clock.now().getTime()
    return (
      parsed.checkPrivateKey(createPrivateKey(key)) &&
      parsed.validFromDate.getTime() <= now &&
      parsed.validToDate.getTime() - now > RENEW_DAYS * DAY_MS &&
      alternativeNames(nodeName).every(({ type, value }) => {
        return (type === 'ip' ? parsed.checkIP(value) : parsed.checkHost(value)) !== undefined
      })
    )
  } catch {
    // Replaces a damaged or truncated pair.
    return false
  }
}

async function generate({ nodeName, clock }: SelfSignedOptions): Promise<CertificatePair> {
  const x509 = await importX509()
  const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' }
  const keys = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify'])
  const now = clock.now().getTime()
  const certificate = await x509.X509CertificateGenerator.createSelfSigned(
    {
      name: 'CN=checkpoint-agent',
      keys,
      signingAlgorithm: algorithm,
      notBefore: new Date(now - BACKDATED_MS),
      notAfter: new Date(now + VALID_DAYS * DAY_MS),
      extensions: [
        new x509.BasicConstraintsExtension(false, undefined, true),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
        new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth]),
        new x509.SubjectAlternativeNameExtension([...alternativeNames(nodeName)]),
      ],
    },
    webcrypto,
  )
  const exported = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', keys.privateKey))
  const key = createPrivateKey({ key: exported, format: 'der', type: 'pkcs8' })
  return {
    key: key.export({ format: 'pem', type: 'pkcs8' }),
    certificate: `${certificate.toString('pem')}\n`,
  }
}

const DNS_NAME = /^[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*$/

function alternativeNames(nodeName: string): readonly { readonly type: 'dns' | 'ip'; readonly value: string }[] {
  const node = isIP(nodeName) !== 0 ? 'ip' : DNS_NAME.test(nodeName) ? 'dns' : undefined
  return [
    ...(node === undefined ? [] : [{ type: node, value: nodeName } as const]),
    { type: 'dns', value: 'localhost' },
    { type: 'ip', value: '127.0.0.1' },
    { type: 'ip', value: '::1' },
  ]
}

/** Replaces a file atomically, so that a reader or a crash sees either the old or the new content. */
async function writeWhole(path: string, text: string, mode: number): Promise<void> {
  const temporary = `${path}.new`
  await writeFile(temporary, text, { mode, flush: true })
  await chmod(temporary, mode)
  await rename(temporary, path)
}
