import { createCipheriv, createSecretKey, randomBytes } from 'node:crypto'
import { deriveKey, writeAgeHeader } from './age-header.ts'
import type { AgeRecipient } from './age-recipient.ts'

/** Every chunk but the last has exactly so many bytes. */
export const AGE_CHUNK_BYTES = 64 * 1024

export const AGE_TAG_BYTES = 16

const FILE_KEY_BYTES = 16
const NONCE_BYTES = 16

/** The beginning of an encrypted file: header and nonce, and the key of the chunks that follow. */
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

/** Some chunks of the payload, one behind the other. Each can be sealed without those before it. */
export interface ChunkRequest {
  readonly payloadKey: Uint8Array
  /** Which chunk of the file the first one is. */
  readonly firstChunk: number
  /** Whole chunks, unless the last of the file is among them. */
  readonly plain: Uint8Array
  /** The last chunk here is the last of the file: it may be shorter, and empty only as the only one of the file. */
  readonly hasLast: boolean
  readonly sealed: Uint8Array
}

/** How much room the chunks take when they are sealed. */
export function sealedBytes(plainBytes: number): number {
  return plainBytes + Math.max(1, Math.ceil(plainBytes / AGE_CHUNK_BYTES)) * AGE_TAG_BYTES
}

/** STREAM with ChaCha20-Poly1305. Gives how many bytes were written to `sealed`. */
export function sealChunks({ payloadKey, firstChunk, plain, hasLast, sealed }: ChunkRequest): number {
  // As bytes it would be taken apart again for each chunk, which costs a quarter of the time.
  const key = createSecretKey(payloadKey)
  const count = Math.max(1, Math.ceil(plain.length / AGE_CHUNK_BYTES))
  const nonce = Buffer.alloc(12)
  let length = 0
  for (let index = 0; index < count; index += 1) {
    // Eleven bytes count; 2^48 chunks are more than any disk holds.
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

/** Each step leaves a buffer of its own behind; small ones are collected before they are many megabytes. */
const STEP_BYTES = 8 * 1024
