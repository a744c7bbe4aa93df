import { isUtf8 } from 'node:buffer'
import { MAX_NAME_BYTES } from './archive-limits.ts'
import { quoted } from './archive-problem.ts'
import { plainBytes } from './plain-text.ts'
import type { Report } from './problem-reporter.ts'

/**
 * Converts the raw name of a member to a text that is safe to display, without a leading `./` or a
 * trailing slash. Use it for comparison and display only, never as a path. Different names give
 * different texts.
 */
export function readMemberName(raw: Buffer, report: Report): string {
  if (raw.length > MAX_NAME_BYTES) {
    report('NameTooLong', () => `a name has ${raw.length} bytes`)
    return plainBytes(raw.subarray(0, SHOWN_BYTES))
  }
  let start = 0
  while (raw[start] === DOT && raw[start + 1] === SLASH) start += 2
  let end = raw.length
  while (end > start && raw[end - 1] === SLASH) end -= 1
  const name = plainBytes(raw.subarray(start, end))
  reportOddName(raw, { start, end }, report)
  return name
}

/**
 * Checks for a whiteout, which deletes a file in OverlayFS and image layers; a layer made from this
 * archive would do so.
 */
export function isWhiteout(name: string): boolean {
  return name.startsWith('.wh.') || name.includes('/.wh.')
}

const SHOWN_BYTES = 256
const SLASH = 0x2f
const DOT = 0x2e

function reportOddName(
  raw: Buffer,
  { start, end }: { readonly start: number; readonly end: number },
  report: Report,
): void {
  const shown = () => quoted(raw.toString('utf8', 0, SHOWN_BYTES))
  if (raw.length === 0) report('NameEmpty', () => 'a member has no name')
  if (raw[0] === SLASH) report('NameAbsolute', () => `${shown()} is an absolute path`)
  const parts = raw.toString('latin1', start, end).split('/')
  if (parts.includes('..')) report('NameEscapes', () => `${shown()} leads out of the archive`)
  // `./` alone is the archived directory; after a leading slash the first part is empty.
  const inner = raw[0] === SLASH ? parts.slice(1) : parts
  if (end > start && inner.some((part) => part === '.' || part === '')) {
    if (raw.toString('latin1', start, end) !== '.')
      report('NameNotPlain', () => `${shown()} has parts that say nothing`)
  }
  if (raw.includes(0x5c)) report('NameBackslash', () => `${shown()} holds a backslash`)
  if (raw.some((byte) => byte < 0x20 || byte === 0x7f)) {
    report('NameControl', () => `${shown()} holds control characters`)
  }
  if (!isUtf8(raw)) report('NameNotUtf8', () => `${shown()} is not UTF-8`)
}
