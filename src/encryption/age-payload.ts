import { createCipheriv, createSecretKey, randomBytes } from 'node:crypto'
import { deriveKey, writeAgeHeader } from './age-header.ts'
import type { AgeRecipient } from './age-recipient.ts'

/** Plaintext bytes in every chunk except the last. */
export const AGE_CHUNK_BYTES = 64 * 1024

export const AGE_TAG_BYTES = 16

const FILE_KEY_BYTES = 16
const NONCE_BYTES = 16

/** The beginning of an encrypted file (header and nonce), and the key of the chunks after it. */
export interface AgeFileStart {
  readonly bytes: Buffer
  readonly payloadKey: Buffer
}

export function startAgeFile(recipients: readonly AgeRecipient[]): AgeFileStart {
  const fileKey = randomBytes(FILE_KEY_BYTES)
  const nonce = randomBytes(NONCE_BYTES)
  return {
    bytes: Buffer.concat([writeAgeHeader(fileKey, recipients), nonce]),
    payloadKey: deriveKey(fileKey, { salt: nonce, info: 'payload' }),
  }
}

/** A run of consecutive payload chunks, which can be encrypted without the chunks before it. */
export interface ChunkRequest {
  readonly payloadKey: Uint8Array
  /** Index within the file of the first chunk. */
  readonly firstChunk: number
  /** Plaintext of whole chunks; only the last chunk of the file may be shorter. */
  readonly plain: Uint8Array
  /**
   * True if the run includes the last chunk of the file. That chunk may be shorter, and may be
   * empty only if it is the only one.
   */
  readonly hasLast: boolean
  readonly sealed: Uint8Array
}

/** Returns the encrypted size of the chunks. */
export function sealedBytes(plainBytes: number): number {
  return plainBytes + Math.max(1, Math.ceil(plainBytes / AGE_CHUNK_BYTES)) * AGE_TAG_BYTES
}

/**
 * Encrypts chunks by the STREAM construction with ChaCha20-Poly1305. Returns the number of bytes
 * written to `sealed`.
 */
export function sealChunks({ payloadKey, firstChunk, plain, hasLast, sealed }: ChunkRequest): number {
  // A key passed as bytes would be parsed again for every chunk, which costs a quarter of the time.
  const key = createSecretKey(payloadKey)
  const count = Math.max(1, Math.ceil(plain.length / AGE_CHUNK_BYTES))
  const nonce = Buffer.alloc(12)
  let length = 0
  for (let index = 0; index < count; index += 1) {
    // The counter has eleven bytes, but 2^48 chunks already exceed any disk.
    nonce.writeUIntBE(firstChunk + index, 5, 6)
    nonce[11] = hasLast && index === count - 1 ? 1 : 0
    const cipher = createCipheriv('chacha20-poly1305', key, nonce, { authTagLength: AGE_TAG_BYTES })
    const end = Math.min(plain.length, (index + 1) * AGE_CHUNK_BYTES)
    for (let at = index * AGE_CHUNK_BYTES; at < end; at += STEP_BYTES) {
      const step = cipher.update(plain.subarray(at, Math.min(end, at + STEP_BYTES)))
      sealed.set(step, length)
      length += step.length
    }
    cipher.final()
    sealed.set(cipher.getAuthTag(), length)
    length += AGE_TAG_BYTES
  }
  return length
}

/**
 * Bytes encrypted per step. Each step allocates a buffer, and small ones are collected before they
 * add up to many megabytes.
 */
const STEP_BYTES = 8 * 1024
