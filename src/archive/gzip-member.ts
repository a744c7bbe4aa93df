import { archiveError } from './archive-problem.ts'

export const GZIP_TRAILER_BYTES = 8

const FIXED_BYTES = 10
const HEADER_CRC = 0x02
const EXTRA = 0x04
const NAME = 0x08
const COMMENT = 0x10
const RESERVED = 0xe0

/**
 * Finds the start of the deflate data in a gzip member (RFC 1952). Throws a ProblemError if there
 * is no such member.
 */
export function findGzipBody(head: Buffer): number {
  if (head.length < FIXED_BYTES) throw cutOff()
  const flags = head[3] ?? 0
  if (head[2] !== 8 || (flags & RESERVED) !== 0) {
    throw archiveError('CompressedDamaged', 'the gzip header says nothing that this reader knows')
  }
  let at = FIXED_BYTES
  if ((flags & EXTRA) !== 0) {
    if (at + 2 > head.length) throw cutOff()
    at += 2 + head.readUInt16LE(at)
  }
  if ((flags & NAME) !== 0) at = afterNul(head, at)
  if ((flags & COMMENT) !== 0) at = afterNul(head, at)
  if ((flags & HEADER_CRC) !== 0) at += 2
  if (at > head.length) throw cutOff()
  return at
}

function afterNul(head: Buffer, at: number): number {
  const nul = head.indexOf(0, at)
  if (nul < 0) throw cutOff()
  return nul + 1
}

function cutOff() {
  return archiveError('CompressedCutOff', 'the gzip header does not end')
}
