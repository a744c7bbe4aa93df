import type { FileHandle } from 'node:fs/promises'

/** Whether a tar file is whole: `members` counts its headers; a reason says what is wrong. */
export type TarEnd =
  | { readonly isWhole: true; readonly members: number }
  | { readonly isWhole: false; readonly reason: TarEndDefect; readonly offset: number }

export type TarEndDefect =
  | 'empty'
  | 'cut off'
  | 'no end-of-tar marker'
  | 'bytes after the end-of-tar marker'
  | 'not a tar header'
  | 'too many members'

const BLOCK = 512
const END = 2 * BLOCK
/** A container's dump has some dozens of members; more than this is no checkpoint, and would take too long to walk. */
const MAX_MEMBERS = 1_000_000
/** Larger extended headers are refused: real ones hold a few hundred bytes. */
const MAX_EXTENDED_BYTES = 1024 * 1024

/**
 * Walks from header to header, seeking over the content, so the cost goes by members, not by bytes. A runtime's own
 * success is no proof: a shorter archive written over a longer file keeps that file's tail.
 */
export async function findTarEnd(file: FileHandle, sizeBytes: number): Promise<TarEnd> {
  if (sizeBytes === 0) return { isWhole: false, reason: 'empty', offset: 0 }
  const header = Buffer.alloc(BLOCK)
  let offset = 0
  let extendedSize: number | undefined
  for (let members = 0; members <= MAX_MEMBERS; members += 1) {
    if (offset === sizeBytes) return { isWhole: false, reason: 'no end-of-tar marker', offset }
    if (!(await readAt(file, header, offset))) return { isWhole: false, reason: 'cut off', offset }
    // What a file system leaves of an unwritten file after a power cut is zeros, and no archive.
    if (isZero(header) && members === 0) return { isWhole: false, reason: 'empty', offset }
    if (isZero(header)) return await judgeEnd(file, offset, { sizeBytes, members })
    const size = readSize(header)
    if (size === undefined || !hasValidChecksum(header)) return { isWhole: false, reason: 'not a tar header', offset }
    const type = header[156]
    if (type === PAX) {
      if (size > MAX_EXTENDED_BYTES) return { isWhole: false, reason: 'not a tar header', offset }
      const records = Buffer.alloc(size)
      if (!(await readAt(file, records, offset + BLOCK))) return { isWhole: false, reason: 'cut off', offset }
      extendedSize = findPaxSize(records)
      offset += BLOCK + padded(size)
    } else if (type !== undefined && ABOUT_THE_NEXT.has(type)) {
      offset += BLOCK + padded(size)
    } else {
      const content = type !== undefined && WITHOUT_CONTENT.has(type) ? 0 : (extendedSize ?? size)
      offset += BLOCK + padded(content)
      extendedSize = undefined
    }
    if (offset > sizeBytes) return { isWhole: false, reason: 'cut off', offset: sizeBytes }
  }
  return { isWhole: false, reason: 'too many members', offset }
}

const PAX = 'x'.charCodeAt(0)
/** GNU's long names and PAX's global header: a size told before them is of the member that follows. */
const ABOUT_THE_NEXT = new Set(Buffer.from('LKg'))
/** Hard link, symbolic link, devices, directory, FIFO: a size in their header has no content behind it. */
const WITHOUT_CONTENT = new Set(Buffer.from('123456'))

async function judgeEnd(
  file: FileHandle,
  offset: number,
  { sizeBytes, members }: { readonly sizeBytes: number; readonly members: number },
): Promise<TarEnd> {
  const second = Buffer.alloc(BLOCK)
  if (!(await readAt(file, second, offset + BLOCK)) || !isZero(second)) {
    return { isWhole: false, reason: 'no end-of-tar marker', offset }
  }
  // Some writers fill their last record with more zeros; anything else is the tail of an older file.
  const rest = Buffer.alloc(64 * 1024)
  for (let at = offset + END; at < sizeBytes; at += rest.length) {
    const { bytesRead } = await file.read(rest, 0, Math.min(rest.length, sizeBytes - at), at)
    if (!isZero(rest.subarray(0, bytesRead))) {
      return { isWhole: false, reason: 'bytes after the end-of-tar marker', offset: at }
    }
    if (at - offset > MAX_EXTENDED_BYTES)
      return { isWhole: false, reason: 'bytes after the end-of-tar marker', offset: at }
  }
  return { isWhole: true, members }
}

async function readAt(file: FileHandle, buffer: Buffer, offset: number): Promise<boolean> {
  for (let filled = 0; filled < buffer.length;) {
    const { bytesRead } = await file.read(buffer, filled, buffer.length - filled, offset + filled)
    if (bytesRead === 0) return false
    filled += bytesRead
  }
  return true
}

function isZero(bytes: Buffer): boolean {
  return bytes.every((byte) => byte === 0)
}

/** Octal text, or for large files a number with the first bit set. Undefined when it is neither. */
function readSize(header: Buffer): number | undefined {
  const field = header.subarray(124, 136)
  if (((field[0] ?? 0) & 0x80) !== 0) {
    const value = field.readBigUInt64BE(4)
    const isSmall = field[0] === 0x80 && field.subarray(1, 4).every((byte) => byte === 0)
    return isSmall && value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : undefined
  }
  const text = field
    .toString('latin1')
    .replace(/[\0 ]+$/, '')
    .trimStart()
  return /^[0-7]*$/.test(text) ? Number.parseInt(text || '0', 8) : undefined
}

function hasValidChecksum(header: Buffer): boolean {
  let sum = 0
  for (let at = 0; at < BLOCK; at += 1) sum += at >= 148 && at < 156 ? 0x20 : (header[at] ?? 0)
  return Number.parseInt(header.toString('latin1', 148, 156).replace(/\0.*$/, '').trim(), 8) === sum
}

/** The `size` record of a pax header: files of 8 GiB and more have it. Records are `<length> <key>=<value>\n`. */
function findPaxSize(records: Buffer): number | undefined {
  let size: number | undefined
  for (let at = 0; at < records.length;) {
    const space = records.indexOf(0x20, at)
    const length = space < 0 ? Number.NaN : Number(records.toString('latin1', at, space))
    if (!Number.isSafeInteger(length) || length < 5 || at + length > records.length) return size
    const record = records.toString('utf8', space + 1, at + length - 1)
    const value = /^size=(\d{1,16})$/.exec(record)?.[1]
    if (value !== undefined && Number.isSafeInteger(Number(value))) size = Number(value)
    at += length
  }
  return size
}

function padded(size: number): number {
  return Math.ceil(size / BLOCK) * BLOCK
}
