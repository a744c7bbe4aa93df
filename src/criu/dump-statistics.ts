import type { ImageDirectory } from './image-directory.ts'
import { readSingleEntry } from './image-reader.ts'
import { ProtobufReader } from './protobuf-reader.ts'

/** CRIU's own statistics. Times are 32-bit counts of microseconds and wrap after 71 minutes. */
export interface DumpStatistics {
  freezingMicros?: number
  /** Time for which the container was frozen. */
  frozenMicros?: number
  memdumpMicros?: number
  memwriteMicros?: number
  pagesScanned?: number
  pagesSkippedParent?: number
  pagesWritten?: number
  pagesLazy?: number
  sharedPagesScanned?: number
  sharedPagesSkippedParent?: number
  sharedPagesWritten?: number
}

/**
 * Reads the statistics of a dump; undefined if there are none. Throws a ProblemError if CRIU did
 * not write them.
 */
export function readDumpStatistics(images: ImageDirectory): DumpStatistics | undefined {
  const bytes = images.read('stats-dump')
  if (bytes === undefined) return undefined
  const outer = new ProtobufReader(readSingleEntry(bytes, 'stats'), 'stats-dump')
  let statistics: DumpStatistics | undefined
  while (outer.next()) {
    const dump = outer.field === DUMP ? outer.bytes() : undefined
    if (dump !== undefined) statistics = { ...statistics, ...readDump(dump) }
  }
  return statistics
}

const DUMP = 1

function readDump(bytes: Buffer): DumpStatistics {
  const statistics: DumpStatistics = {}
  const reader = new ProtobufReader(bytes, 'stats-dump')
  while (reader.next()) {
    const time = TIMES[reader.field]
    const count = COUNTS[reader.field]
    if (time !== undefined) setField(statistics, time, reader.uint32())
    else if (count !== undefined) setField(statistics, count, reader.count())
  }
  return statistics
}

const TIMES: Readonly<Record<number, keyof DumpStatistics>> = {
  1: 'freezingMicros',
  2: 'frozenMicros',
  3: 'memdumpMicros',
  4: 'memwriteMicros',
}

const COUNTS: Readonly<Record<number, keyof DumpStatistics>> = {
  5: 'pagesScanned',
  6: 'pagesSkippedParent',
  7: 'pagesWritten',
  9: 'pagesLazy',
  12: 'sharedPagesScanned',
  13: 'sharedPagesSkippedParent',
  14: 'sharedPagesWritten',
}

function setField(statistics: DumpStatistics, field: keyof DumpStatistics, value: number | undefined): void {
  if (value !== undefined) statistics[field] = value
}
