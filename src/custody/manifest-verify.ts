import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { readFile, stat } from 'node:fs/promises'
import { dsseEnvelope, openEnvelope, type DsseEnvelope } from './dsse.ts'
import { readStatement, STATEMENT_TYPE, type ManifestStatement } from './manifest-statement.ts'
import { keyId, readEd25519Key } from './signing-key.ts'
import type { Verdict } from './verdict.ts'

export interface ManifestProblem {
  /** `NotAManifest`, `SignatureWrong`, `SizeDifferent`, `DigestDifferent`. */
  readonly code: string
  readonly detail: string
}

export interface ManifestReport {
  /**
   * `authentic` only if the given key signed the manifest and the manifest describes this archive.
   */
  readonly verdict: Verdict
  readonly problems: readonly ManifestProblem[]
  /** Id of the given key, if it signed the manifest. */
  readonly keyId: string | undefined
  readonly statement: ManifestStatement | undefined
  /** Present size and digest. */
  readonly archive: { readonly sizeBytes: number; readonly sha256: string }
}

/** Largest manifest accepted; real ones are far smaller. */
const MAX_MANIFEST_BYTES = 4 * 1024 * 1024

/**
 * Compares an archive with its manifest, and the manifest's signature with a key. Rejects if a file
 * is not readable.
 */
export async function verifyManifest(
  manifestPath: string,
  archivePath: string,
  options: { /** PEM, from a trusted place. */ readonly publicKey?: string } = {},
): Promise<ManifestReport> {
  const key = options.publicKey === undefined ? undefined : readEd25519Key(options.publicKey)
  const envelope = await readEnvelope(manifestPath)
  const archive = await readArchive(archivePath)
  const statement = envelope && readStatement(Buffer.from(envelope.payload, 'base64'))
  if (envelope === undefined || statement === undefined) {
    const problem = { code: 'NotAManifest', detail: 'it is no signed statement about a checkpoint' }
    return { verdict: 'broken', problems: [problem], keyId: undefined, statement: undefined, archive }
  }
  const isSigned = key !== undefined && openEnvelope(envelope, key) !== undefined
  const problems = compare(statement, archive)
  if (key !== undefined && !isSigned) {
    const detail = 'the key that was given did not sign it: it is another key, or the manifest was changed'
    problems.unshift({ code: 'SignatureWrong', detail })
  }
  return {
    verdict: problems.length > 0 ? 'broken' : isSigned ? 'authentic' : 'not-authenticated',
    problems,
    keyId: isSigned ? keyId(key) : undefined,
    statement,
    archive,
  }
}

async function readEnvelope(path: string): Promise<DsseEnvelope | undefined> {
  if ((await stat(path)).size > MAX_MANIFEST_BYTES) return undefined
  const text = await readFile(path, 'utf8')
  try {
    const envelope = dsseEnvelope.safeParse(JSON.parse(text)).data
    return envelope?.payloadType === STATEMENT_TYPE ? envelope : undefined
  } catch {
    return undefined
  }
}

async function readArchive(path: string): Promise<ManifestReport['archive']> {
  const hash = createHash('sha256')
  let sizeBytes = 0
  for await (const chunk of createReadStream(path, { highWaterMark: 1024 * 1024 })) {
    hash.update(chunk as Buffer)
    sizeBytes += (chunk as Buffer).length
  }
  return { sizeBytes, sha256: hash.digest('hex') }
}

function compare(statement: ManifestStatement, archive: ManifestReport['archive']): ManifestProblem[] {
  const problems: ManifestProblem[] = []
  if (archive.sizeBytes !== statement.sizeBytes) {
    const detail = `the archive has ${archive.sizeBytes} bytes, and the manifest says ${statement.sizeBytes}`
    problems.push({ code: 'SizeDifferent', detail })
  }
  if (archive.sha256 !== statement.sha256) {
    const detail = `the archive has the digest ${archive.sha256}, and the manifest says ${statement.sha256}`
    problems.push({ code: 'DigestDifferent', detail })
  }
  return problems
}
