import { createHash, createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto'
import { chmodSync, closeSync, fsyncSync, openSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { errorText, isSystemError, UnavailableError } from '../shared/errors.ts'

/** The key that signs heads and manifests. */
export interface SigningKey {
  /**
   * SHA-256 of the public key's DER, as printed by `openssl pkey -pubin -outform DER | sha256sum`.
   */
  readonly id: string
  readonly privateKey: KeyObject
  /** PEM. */
  readonly publicKey: string
  /** True if the key was just created. */
  readonly isNew: boolean
}

/**
 * Loads the Ed25519 key from this file, or creates it. Throws an UnavailableError if the file
 * contains anything else.
 */
export function loadSigningKey(file: string): SigningKey {
  const kept = readKept(file)
  const privateKey = kept ?? make(file)
  const publicKey = createPublicKey(privateKey)
  return { id: keyId(publicKey), privateKey, publicKey: toPem(publicKey), isNew: kept === undefined }
}

export function keyId(publicKey: KeyObject): string {
  return createHash('sha256')
    .update(publicKey.export({ type: 'spki', format: 'der' }))
    .digest('hex')
}

/** Parses a public key in PEM. Throws an Error for anything but an Ed25519 key. */
export function readEd25519Key(pem: string): KeyObject {
  const key = createPublicKey(pem)
  if (key.asymmetricKeyType !== 'ed25519') throw new Error(`it is a key of type ${String(key.asymmetricKeyType)}`)
  return key
}

function toPem(publicKey: KeyObject): string {
  return publicKey.export({ type: 'spki', format: 'pem' })
}

function readKept(file: string): KeyObject | undefined {
  try {
    const key = createPrivateKey(readFileSync(file))
    if (key.asymmetricKeyType !== 'ed25519') throw new Error(`it is a key of type ${String(key.asymmetricKeyType)}`)
    chmodSync(file, 0o600)
    return key
  } catch (error) {
    if (isSystemError(error, 'ENOENT')) return undefined
    throw cannotUse(file, error)
  }
}

function make(file: string): KeyObject {
  const { privateKey } = generateKeyPairSync('ed25519')
  try {
    writeFileSync(`${file}.new`, privateKey.export({ type: 'pkcs8', format: 'pem' }), { mode: 0o600 })
    chmodSync(`${file}.new`, 0o600)
    const written = openSync(`${file}.new`, 'r')
    fsyncSync(written)
    closeSync(written)
    renameSync(`${file}.new`, file)
    return privateKey
  } catch (error) {
    throw cannotUse(file, error)
  }
}

function cannotUse(file: string, error: unknown): UnavailableError {
  return new UnavailableError(`Cannot use the signing key "${file}": ${errorText(error)}`, {
    code: 'SigningKeyUnusable',
    hint: 'Put the Ed25519 key back from a copy; or move the file away, and the agent makes another, which everybody who pinned the old one must learn of.',
    cause: error,
  })
}
