import { createReadStream } from 'node:fs'
import { join } from 'node:path'
import { readLine, type LineReading } from './custody-entry.ts'

/** One file of the log. */
export interface Segment {
  readonly number: number
  readonly name: string
}

export const HEAD_FILE = 'head.json'
export const PUBLIC_KEY_FILE = 'public-key.pem'

/** Returns the segments among these names, oldest first. */
export function segmentsAmong(names: readonly string[]): readonly Segment[] {
  return names
    .filter((name) => /^\d{6,}\.jsonl$/.test(name))
    .map((name) => ({ name, number: Number.parseInt(name, 10) }))
    .toSorted((a, b) => a.number - b.number)
}

export function segmentOf(number: number): Segment {
  return { number, name: `${String(number).padStart(6, '0')}.jsonl` }
}

/** One line of a segment, exactly as stored. */
export interface SegmentLine {
  readonly bytes: Buffer
  /** Starts at 1. */
  readonly number: number
  /** Position of its first byte in the file. */
  readonly offset: number
  readonly isEnded: boolean
}

/** Longest line; no entry is that long. Bounds the memory for a file without line breaks. */
const MAX_LINE_BYTES = 1024 * 1024

/**
 * Reads the lines of a file up to `endBytes` in constant memory. A line longer than any entry
 * arrives in pieces.
 */
export async function* readLines(path: string, endBytes = Number.POSITIVE_INFINITY): AsyncGenerator<SegmentLine> {
  if (endBytes === 0) return
  let rest: Buffer = Buffer.alloc(0)
  let number = 1
  let offset = 0
  for await (const chunk of createReadStream(path, { end: endBytes - 1, highWaterMark: 256 * 1024 })) {
    let bytes: Buffer = rest.length === 0 ? (chunk as Buffer) : Buffer.concat([rest, chunk as Buffer])
    for (;;) {
      const lineEnd = bytes.indexOf(LINE_END)
      if (lineEnd === -1 && bytes.length <= MAX_LINE_BYTES) break
      const length = lineEnd === -1 ? MAX_LINE_BYTES : lineEnd
      yield { bytes: bytes.subarray(0, length), number, offset, isEnded: lineEnd !== -1 }
      const taken = lineEnd === -1 ? length : length + 1
      bytes = bytes.subarray(taken)
      offset += taken
      number += 1
    }
    rest = bytes
  }
  if (rest.length > 0) yield { bytes: rest, number, offset, isEnded: false }
}

/** Splits the content of a file into lines. */
export function* linesOf(bytes: Buffer): Generator<SegmentLine> {
  for (let offset = 0, number = 1; offset < bytes.length; number += 1) {
    const lineEnd = bytes.indexOf(LINE_END, offset)
    const isEnded = lineEnd !== -1
    const end = isEnded ? lineEnd : bytes.length
    yield { bytes: bytes.subarray(offset, end), number, offset, isEnded }
    offset = end + 1
  }
}

const LINE_END = 0x0a

/** Parses a line by itself. A line without its line break was never completed. */
export function judgeLine(
  line: SegmentLine,
): LineReading | { readonly isGood: false; readonly code: 'TornLine'; readonly detail: string } {
  if (line.isEnded) return readLine(line.bytes)
  return { isGood: false, code: 'TornLine', detail: `the last ${line.bytes.length} bytes are no whole line` }
}

export function segmentPath(folder: string, { name }: Segment): string {
  return join(folder, name)
}
