import { archiveError } from './archive-problem.ts'

/** Changes that an extended header makes to the next member. */
export interface Extension {
  path?: Buffer
  linkPath?: Buffer
  sizeBytes?: number
  modified?: { readonly seconds: number; readonly nanos: number }
}

/**
 * Parses the records `<length> <key>=<value>
 * ` of a pax header. Only the length determines the end of a value, because values may contain line
 * breaks and text that resembles records (extended attributes are binary). Throws a ProblemError if
 * the block does not consist of records, or uses features that no engine writes.
 */
export function readPaxRecords(block: Buffer): Extension {
  const extension: Extension = {}
  for (const { key, value } of records(block)) {
    if (key.startsWith('GNU.sparse.')) throw archiveError('SparseMember', 'a pax header describes a sparse file')
    if (value.length === 0) continue
    if (key === 'path') extension.path = once(key, extension.path, withoutNul(key, value))
    else if (key === 'linkpath') extension.linkPath = once(key, extension.linkPath, withoutNul(key, value))
    else if (key === 'size') extension.sizeBytes = once(key, extension.sizeBytes, readSize(value))
    else if (key === 'mtime') extension.modified = once(key, extension.modified, readTime(value))
  }
  return extension
}

/**
 * Accepts a global header that only carries a comment, and rejects one that changes the members
 * after it.
 */
export function assertHarmlessGlobal(block: Buffer): void {
  for (const { key } of records(block)) {
    if (key === 'path' || key === 'linkpath' || key === 'size' || key.startsWith('GNU.sparse.')) {
      throw archiveError('PaxGlobal', `a global pax header sets the ${key} of all members after it`)
    }
  }
}

function* records(block: Buffer): Generator<{ readonly key: string; readonly value: Buffer }> {
  for (let at = 0; at < block.length;) {
    const space = block.subarray(at, at + MAX_LENGTH_DIGITS + 1).indexOf(0x20)
    const digits = space < 0 ? '' : block.toString('latin1', at, at + space)
    const length = /^[1-9][0-9]*$/.test(digits) ? Number(digits) : 0
    const end = at + length
    if (length < space + MIN_RECORD || end > block.length || block[end - 1] !== 0x0a) {
      throw archiveError('PaxInvalid', 'a pax header is not made of records')
    }
    const record = block.subarray(at + space + 1, end - 1)
    const equals = record.indexOf(0x3d)
    if (equals < 1) throw archiveError('PaxInvalid', 'a record of a pax header has no name')
    yield { key: record.toString('latin1', 0, equals), value: record.subarray(equals + 1) }
    at = end
  }
}

/** Digits of a record length; a block has at most one mebibyte. */
const MAX_LENGTH_DIGITS = 7
/** The space, one letter, the equals sign and the line break. */
const MIN_RECORD = 4

function once<T>(key: string, before: T | undefined, value: T): T {
  if (before !== undefined) throw archiveError('PaxInvalid', `a pax header says ${key} twice`)
  return value
}

function withoutNul(key: string, value: Buffer): Buffer {
  if (value.includes(0)) throw archiveError('NameControl', `the ${key} of a pax header holds a NUL`)
  return value
}

function readSize(value: Buffer): number {
  const text = value.toString('latin1')
  const size = Number(text)
  if (!/^[0-9]{1,19}$/.test(text) || !Number.isSafeInteger(size)) {
    throw archiveError('PaxInvalid', 'the size in a pax header is no number of bytes')
  }
  return size
}

function readTime(value: Buffer): { seconds: number; nanos: number } {
  const found = /^(-?)([0-9]{1,15})(?:\.([0-9]{1,30}))?$/.exec(value.toString('latin1', 0, 64))
  if (found === null) throw archiveError('PaxInvalid', 'the time in a pax header is no time')
  const [, sign, seconds, fraction = ''] = found
  const nanos = Number(fraction.slice(0, 9).padEnd(9, '0'))
  if (sign === '') return { seconds: Number(seconds), nanos }
  return nanos === 0 ? { seconds: -Number(seconds), nanos } : { seconds: -Number(seconds) - 1, nanos: 1e9 - nanos }
}
