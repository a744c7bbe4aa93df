import { createReadStream } from 'node:fs'
import { open, readdir } from 'node:fs/promises'
import { isSystemError } from '../shared/errors.ts'
import type { CustodyEntry } from './custody-entry.ts'
import { judgeLine, readLines, segmentPath, segmentsAmong, type Segment } from './custody-segments.ts'

export interface CustodyPageQuery {
  /** Exclusive. */
  readonly after: number
  readonly limit: number
  readonly checkpointId?: string
  /** Last entry that is certainly on the disk. */
  readonly upTo: number
  readonly signal?: AbortSignal
}

export interface CustodyPage {
  readonly entries: readonly CustodyEntry[]
  /** Start of the next page; undefined on the last page. Other pages may be short or empty too. */
  readonly next: number | undefined
}

/** Lines read per response; a query for a single checkpoint may match nothing for a long time. */
const MAX_LINES = 200_000

/** Reads entries in order. Skips lines that the agent did not write; `verify` reports them. */
export async function readCustodyPage(folder: string, query: CustodyPageQuery): Promise<CustodyPage> {
  const { after, limit, checkpointId, upTo, signal } = query
  const entries: CustodyEntry[] = []
  let lines = 0
  for (const segment of await segmentsFrom(folder, after + 1)) {
    for await (const line of readLines(segmentPath(folder, segment))) {
      signal?.throwIfAborted()
      lines += 1
      // Parsing is expensive, so lines about other checkpoints are skipped before it.
      if (checkpointId !== undefined && !line.bytes.includes(checkpointId) && lines < MAX_LINES) continue
      const reading = judgeLine(line)
      if (!reading.isGood || reading.entry.seq <= after) continue
      const { entry } = reading
      if (entry.seq > upTo) return { entries, next: undefined }
      if (checkpointId === undefined || entry.checkpoint?.id === checkpointId) entries.push(entry)
      const isFull = entries.length >= limit || lines >= MAX_LINES
      if (isFull) return { entries, next: entry.seq < upTo ? entry.seq : undefined }
    }
  }
  return { entries, next: undefined }
}

/** Streams the lines of the present log. */
export async function* exportCustody(folder: string, { after }: { readonly after: number }): AsyncGenerator<Buffer> {
  for (const segment of await segmentsFrom(folder, after + 1)) {
    const isFirst = (await firstSeq(folder, segment)) <= after
    if (!isFirst) {
      for await (const chunk of createReadStream(segmentPath(folder, segment))) yield chunk as Buffer
      continue
    }
    for await (const line of readLines(segmentPath(folder, segment))) {
      const reading = judgeLine(line)
      if (reading.isGood && reading.entry.seq <= after) continue
      yield line.isEnded ? Buffer.concat([line.bytes, LINE_END]) : line.bytes
    }
  }
}

const LINE_END = Buffer.from('\n')

/** Returns the segment that contains this entry, and all later ones. */
async function segmentsFrom(folder: string, seq: number): Promise<readonly Segment[]> {
  const segments = segmentsAmong(await namesIn(folder))
  let begin = 0
  for (let index = segments.length - 1; index > 0; index -= 1) {
    const segment = segments[index]
    if (segment !== undefined && (await firstSeq(folder, segment)) <= seq) {
      begin = index
      break
    }
  }
  return segments.slice(begin)
}

/** Returns the number of the first entry; Infinity if the first line is not an entry. */
async function firstSeq(folder: string, segment: Segment): Promise<number> {
  await using file = await open(segmentPath(folder, segment))
  const bytes = Buffer.alloc(64)
  await file.read(bytes, 0, bytes.length, 0)
  const [, seq] = /^\{"seq":(\d+),/.exec(bytes.toString('latin1')) ?? []
  return seq === undefined ? Number.POSITIVE_INFINITY : Number(seq)
}

async function namesIn(folder: string): Promise<readonly string[]> {
  return await readdir(folder).catch((error: unknown) => {
    if (isSystemError(error, 'ENOENT')) return []
    throw error
  })
}
