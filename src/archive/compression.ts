/** Compression of the archive file; its name does not reveal it. */
export type Compression = 'none' | 'gzip' | 'zstd' | 'xz' | 'bzip2'

/** Bytes needed to detect the compression. */
export const MAGIC_BYTES = 6

/**
 * Detects the compression by the first bytes. A tar file has no magic at its beginning, so it is
 * the fallback.
 */
export function detectCompression(head: Uint8Array): Compression {
  const [a, b, c, d] = head
  if (a === 0x1f && b === 0x8b) return 'gzip'
  if (a === 0x28 && b === 0xb5 && c === 0x2f && d === 0xfd) return 'zstd'
  if (isSkippableFrame(head)) return 'zstd'
  if (startsWith(head, XZ)) return 'xz'
  // "BZh", the block size, and the magic of the first block or of the end. No member name starts
  // like this.
  if (startsWith(head, BZIP2) && isDigit(d) && (head[4] === 0x31 || head[4] === 0x17)) return 'bzip2'
  return 'none'
}

/** Checks for a zstd frame without content: `50..5f 2a 4d 18`. */
export function isSkippableFrame(head: Uint8Array): boolean {
  return ((head[0] ?? 0) & 0xf0) === 0x50 && head[1] === 0x2a && head[2] === 0x4d && head[3] === 0x18
}

const XZ = Buffer.from([0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00])
const BZIP2 = Buffer.from('BZh')

function startsWith(bytes: Uint8Array, prefix: Uint8Array): boolean {
  return prefix.every((byte, index) => bytes[index] === byte)
}

function isDigit(byte: number | undefined): boolean {
  return byte !== undefined && byte >= 0x31 && byte <= 0x39
}
