import { Header } from 'tar/header'
import { TAR_BLOCK_BYTES } from './archive-limits.ts'
import { archiveError } from './archive-problem.ts'

/** One header block. A single object is reused for all headers of an archive. */
export interface TarHeader {
  /** The type flag, as a byte. */
  type: number
  sizeBytes: number
  modifiedSeconds: number
  /** Name with prefix and slashes; undefined if it needs the general parser. */
  plainName: string | undefined
}

export function emptyHeader(): TarHeader {
  return { type: 0, sizeBytes: 0, modifiedSeconds: 0, plainName: undefined }
}

/** Checks that the block at this index contains only zeros. */
export function isZeroBlock(words: Uint32Array, index: number): boolean {
  const first = index >> 2
  for (let at = first; at < first + TAR_BLOCK_BYTES / 4; at += 1) if (words[at] !== 0) return false
  return true
}

/**
 * Verifies the checksum. Old writers summed the bytes as signed numbers. Adds four bytes at a time
 * in two lanes of sixteen bits, which 512 bytes cannot overflow.
 */
export function hasValidChecksum(bytes: Buffer, words: Uint32Array, index: number): boolean {
  const expected = readOctal(bytes, index + CHECKSUM, CHECKSUM_LENGTH)
  if (expected === undefined) return false
  const first = index >> 2
  let lanes = 0
  for (let at = first; at < first + TAR_BLOCK_BYTES / 4; at += 1) {
    const word = words[at] as number
    lanes += (word & 0x00ff00ff) + ((word >>> 8) & 0x00ff00ff)
  }
  let sum = (lanes & 0xffff) + (lanes >>> 16) + CHECKSUM_LENGTH * 0x20
  for (let at = index + CHECKSUM; at < index + CHECKSUM + CHECKSUM_LENGTH; at += 1) sum -= bytes[at] as number
  return sum === expected || signedSum(bytes, index) === expected
}

/**
 * Parses the block at this index, whose checksum is valid. Reads the plain form that every engine
 * writes in place, because `Header` takes ten times as long and accepts `12junk` as a number.
 * `Header` parses the other dialects: GNU, base-256, old.
 */
export function readHeader(bytes: Buffer, index: number, header: TarHeader): void {
  header.type = bytes[index + TYPE] as number
  const size = isUstar(bytes, index) ? readPlainOctal(bytes, index + SIZE, SIZE_LENGTH) : undefined
  const modified = size === undefined ? undefined : readPlainOctal(bytes, index + MODIFIED, MODIFIED_LENGTH)
  if (size === undefined || modified === undefined) {
    readOtherDialect(bytes, index, header)
  } else {
    header.sizeBytes = size
    header.modifiedSeconds = modified
    header.plainName = bytes[index + PREFIX] === 0 ? readPlainName(bytes, index) : undefined
  }
}

/** Returns the name as raw bytes. */
export function readRawName(bytes: Buffer, index: number): Buffer {
  const name = untilNul(bytes, index, NAME_LENGTH)
  if (!isUstar(bytes, index)) return name
  const prefix = untilNul(bytes, index + PREFIX, PREFIX_LENGTH)
  return prefix.length === 0 ? name : Buffer.concat([prefix, SLASH, name])
}

export function readRawLinkName(bytes: Buffer, index: number): Buffer {
  return untilNul(bytes, index + LINK_NAME, NAME_LENGTH)
}

const NAME_LENGTH = 100
const SIZE = 124
const SIZE_LENGTH = 12
const MODIFIED = 136
const MODIFIED_LENGTH = 12
const CHECKSUM = 148
const CHECKSUM_LENGTH = 8
const TYPE = 156
const LINK_NAME = 157
const MAGIC = 257
const PREFIX = 345
const PREFIX_LENGTH = 155
const USTAR = Buffer.from('ustar\x0000', 'latin1')
const SLASH = Buffer.from('/')

function isUstar(bytes: Buffer, index: number): boolean {
  const at = index + MAGIC
  for (let offset = 0; offset < USTAR.length; offset += 1) if (bytes[at + offset] !== USTAR[offset]) return false
  return true
}

/** Parses eleven octal digits and a terminator, the format of Go. */
function readPlainOctal(bytes: Buffer, at: number, length: number): number | undefined {
  let value = 0
  for (let index = at; index < at + length - 1; index += 1) {
    const digit = (bytes[index] as number) - 0x30
    if (digit < 0 || digit > 7) return undefined
    value = value * 8 + digit
  }
  const end = bytes[at + length - 1]
  return end === 0 || end === 0x20 ? value : undefined
}

/** Parses octal digits between spaces and NULs; undefined for anything else. */
function readOctal(bytes: Buffer, at: number, length: number): number | undefined {
  const end = at + length
  let index = at
  while (index < end && bytes[index] === 0x20) index += 1
  let value = 0
  for (; index < end; index += 1) {
    const digit = (bytes[index] as number) - 0x30
    if (digit < 0 || digit > 7) break
    value = value * 8 + digit
  }
  for (; index < end; index += 1) if (bytes[index] !== 0 && bytes[index] !== 0x20) return undefined
  return value
}

function readOtherDialect(bytes: Buffer, index: number, header: TarHeader): void {
  assertNumber(bytes, index + SIZE, SIZE_LENGTH, 'size')
  assertNumber(bytes, index + MODIFIED, MODIFIED_LENGTH, 'time')
  const decoded = decode(bytes, index)
  header.sizeBytes = decoded.size ?? 0
  const modified = decoded.mtime?.getTime() ?? 0
  header.modifiedSeconds = Number.isFinite(modified) ? Math.floor(modified / 1000) : 0
  header.plainName = undefined
}

/**
 * Decodes a copy without the fields after the owner, in which `Header` would expect dates of
 * another dialect and fail.
 */
function decode(bytes: Buffer, index: number): Header {
  const copy = Buffer.alloc(TAR_BLOCK_BYTES)
  bytes.copy(copy, 0, index, index + PREFIX)
  try {
    return new Header(copy)
  } catch {
    throw archiveError('HeaderNumber', 'a header has a number beyond 2^53')
  }
}

/** Accepts octal text, or a positive binary number with the first bit set. */
function assertNumber(bytes: Buffer, at: number, length: number, what: string): void {
  const first = bytes[at] ?? 0
  if (first === 0x80) return
  if (first === 0xff) throw archiveError('HeaderNumber', `the ${what} in a header is negative`)
  if (readOctal(bytes, at, length) === undefined)
    throw archiveError('HeaderNumber', `the ${what} in a header is no number`)
}

/** Returns a name of printable ASCII that needs no further checks; undefined for others. */
function readPlainName(bytes: Buffer, index: number): string | undefined {
  let previous = SLASH_BYTE
  let at = index
  const end = index + NAME_LENGTH
  for (; at < end; at += 1) {
    const byte = bytes[at] as number
    if (byte === 0) break
    if (byte < 0x21 || byte > 0x7e || byte === BACKSLASH_BYTE) return undefined
    // A slash or a dot after a slash (or at the beginning) may mean `//`, `./`, `../` or a hidden
    // file.
    if (previous === SLASH_BYTE && (byte === SLASH_BYTE || byte === DOT_BYTE)) return undefined
    previous = byte
  }
  return at === index ? undefined : bytes.toString('latin1', index, at)
}

const SLASH_BYTE = 0x2f
const DOT_BYTE = 0x2e
const BACKSLASH_BYTE = 0x5c

function untilNul(bytes: Buffer, at: number, length: number): Buffer {
  const field = bytes.subarray(at, at + length)
  const nul = field.indexOf(0)
  return nul < 0 ? field : field.subarray(0, nul)
}

function signedSum(bytes: Buffer, index: number): number {
  let sum = CHECKSUM_LENGTH * 0x20
  for (let at = index; at < index + TAR_BLOCK_BYTES; at += 1) {
    if (at < index + CHECKSUM || at >= index + CHECKSUM + CHECKSUM_LENGTH) sum += ((bytes[at] as number) << 24) >> 24
  }
  return sum
}
