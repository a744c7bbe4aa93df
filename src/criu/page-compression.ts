/**
 * Compression of the memory pages according to `inventory.img`. Images of version 3 may contain LZ4
 * blocks. Forks of CRIU wrote earlier drafts of that format, which are recognized but not
 * supported.
 */
export type PageCompression =
  | { readonly kind: 'none' }
  | { readonly kind: 'lz4'; readonly blockBytes: number }
  | { readonly kind: 'unsupported'; readonly reason: string }

export interface CompressionFields {
  readonly imageVersion: number
  /** Field `compress`; absent if the writer does not support compression. */
  readonly mode: number | undefined
  /** Field `compress_block_size`. */
  readonly blockBytes: number | undefined
}

/** First image version whose pages may be compressed. */
export const COMPRESSION_VERSION = 3

export function readPageCompression({ imageVersion, mode = 0, blockBytes = 0 }: CompressionFields): PageCompression {
  if (mode === OFF) return { kind: 'none' }
  if (mode === BY_REGION) return { kind: 'unsupported', reason: 'a draft that compresses by region (compress 2)' }
  if (mode !== BY_BLOCK) return { kind: 'unsupported', reason: `an unknown kind of compression (compress ${mode})` }
  if (imageVersion < COMPRESSION_VERSION) {
    return { kind: 'unsupported', reason: `a draft that compresses images of version ${imageVersion}` }
  }
  if (blockBytes === 0) return { kind: 'unsupported', reason: 'a draft that compresses page by page (no block size)' }
  if (blockBytes > MAX_BLOCK_BYTES || blockBytes % SMALLEST_PAGE_BYTES !== 0) {
    return { kind: 'unsupported', reason: `blocks of ${blockBytes} bytes, which CRIU does not write` }
  }
  return { kind: 'lz4', blockBytes }
}

const OFF = 0
const BY_BLOCK = 1
const BY_REGION = 2
const MAX_BLOCK_BYTES = 4 * 1024 * 1024
const SMALLEST_PAGE_BYTES = 4096
