import { createHash } from 'node:crypto'
import { join } from 'node:path'
import type { CustodyDisk, CustodyFile } from './custody-disk.ts'
import { AGENT_ACTOR, CHAIN_BEGIN, type ChainEnd, type CustodyDraft } from './custody-entry.ts'
import { judgeLine, linesOf, segmentOf, segmentPath, segmentsAmong, type Segment } from './custody-segments.ts'

/** Position of the next entry. */
export interface CustodyTail {
  readonly segment: Segment
  readonly file: CustodyFile
  readonly inode: number
  readonly sizeBytes: number
  readonly end: ChainEnd
}

export interface OpenedTail {
  readonly tail: CustodyTail
  /** Entries to write before all others. */
  readonly notes: readonly CustodyDraft[]
  /** Quarantined files that the notes mention. */
  readonly quarantine: readonly string[]
}

/**
 * Finds the end of the log and repairs it. Bytes left incomplete by a crash were never confirmed,
 * and are quarantined. A crash cannot change bytes that were synced: changed ones stay in place as
 * evidence, the chain continues in a new segment, and the notes report them. `known` is an entry
 * that the log is known to contain.
 */
export async function openTail(folder: string, known: ChainEnd | undefined, disk: CustodyDisk): Promise<OpenedTail> {
  await disk.makeFolder(folder)
  const segments = segmentsAmong(await disk.list(folder))
  const last = segments.at(-1)
  if (last === undefined) return begin(folder, known, disk)

  const before = await endOfEarlier(folder, segments, disk)
  const bytes = await disk.read(segmentPath(folder, last))
  const found = walk(bytes, { before, known })
  const mayBeTorn = known === undefined ? found.bad?.code === 'TornLine' : found.end.seq >= known.seq
  if (found.bad !== undefined && mayBeTorn) {
    await quarantine(folder, last, bytes.subarray(found.bad.offset), found.bad.offset, disk)
    const opened = await openSegment(folder, last, { sizeBytes: found.bad.offset, end: found.end }, disk)
    return withSetAside(folder, opened, [], disk)
  }
  const damage = findDamage(found, { last, known })
  const lastStated = found.lastStated.seq > (known?.seq ?? 0) ? found.lastStated : (known ?? found.lastStated)
  const opened =
    damage === undefined || damage.goesOn
      ? await openSegment(folder, last, { sizeBytes: bytes.length, end: found.end }, disk)
      : await createSegment(folder, segmentOf(last.number + 1), lastStated, disk)
  return withSetAside(folder, opened, damage === undefined ? [] : [tampering(damage.detail)], disk)
}

/** Creates an empty segment. */
export async function createSegment(
  folder: string,
  segment: Segment,
  end: ChainEnd,
  disk: CustodyDisk,
): Promise<CustodyTail> {
  const path = segmentPath(folder, segment)
  const file = await disk.create(path)
  await disk.syncFolder(folder)
  const inode = (await disk.look(path))?.inode ?? 0
  return { segment, file, inode, sizeBytes: 0, end }
}

/** Marks a quarantined file whose note is in the log, so that it is not noted again. */
export async function markNoted(folder: string, name: string, disk: CustodyDisk): Promise<void> {
  await disk.rename(join(folder, name), join(folder, `${name}.noted`))
}

interface Walk {
  /** Last entry before the first defect. */
  readonly end: ChainEnd
  /** Sequence number and hash stated by the last parseable line, valid or not. */
  readonly lastStated: ChainEnd
  readonly bad: { readonly offset: number; readonly line: number; readonly code: string } | undefined
  /** True if the known entry has another hash here. */
  readonly isRewritten: boolean
}

function walk(
  bytes: Buffer,
  { before, known }: { readonly before: ChainEnd | undefined; readonly known: ChainEnd | undefined },
): Walk {
  let end = before
  let lastStated = before ?? CHAIN_BEGIN
  let bad: Walk['bad']
  let isRewritten = known !== undefined && before?.seq === known.seq && before.hash !== known.hash
  for (const line of linesOf(bytes)) {
    const reading = judgeLine(line)
    const follows = reading.isGood && (end === undefined || follow(end, reading.entry))
    if (!reading.isGood || !follows) {
      bad ??= { offset: line.offset, line: line.number, code: reading.isGood ? 'ChainBroken' : reading.code }
    }
    if (!reading.isGood) continue
    const { seq, hash } = reading.entry
    lastStated = { seq, hash }
    if (seq === known?.seq && hash !== known.hash) isRewritten = true
    if (bad === undefined) end = lastStated
  }
  return { end: end ?? CHAIN_BEGIN, lastStated, bad, isRewritten }
}

export function follow(end: ChainEnd, entry: { readonly seq: number; readonly previous: string }): boolean {
  return entry.seq === end.seq + 1 && entry.previous === end.hash
}

interface Damage {
  readonly detail: Readonly<Record<string, unknown>>
  /** True if the chain itself is valid, so that it continues in place. */
  readonly goesOn: boolean
}

function findDamage(
  { bad, end, isRewritten }: Walk,
  { last, known }: { readonly last: Segment; readonly known: ChainEnd | undefined },
): Damage | undefined {
  if (bad !== undefined) {
    return { goesOn: false, detail: { what: 'custody-log', problem: bad.code, file: last.name, line: bad.line } }
  }
  if (known !== undefined && end.seq < known.seq) {
    const detail = { what: 'custody-log', problem: 'EndMissing', lastSeq: end.seq, knownSeq: known.seq }
    return { goesOn: false, detail }
  }
  if (!isRewritten) return undefined
  return { goesOn: true, detail: { what: 'custody-log', problem: 'Rewritten', knownSeq: known?.seq } }
}

async function begin(folder: string, known: ChainEnd | undefined, disk: CustodyDisk): Promise<OpenedTail> {
  const end = known ?? CHAIN_BEGIN
  const tail = await createSegment(folder, segmentOf(1), end, disk)
  const isGone = end.seq > 0
  const detail = { what: 'custody-log', problem: 'EndMissing', lastSeq: 0, knownSeq: end.seq }
  return withSetAside(folder, tail, isGone ? [tampering(detail)] : [], disk)
}

/**
 * Returns the end of the previous segment. Undefined if there is only one; its first entry is then
 * trusted.
 */
async function endOfEarlier(
  folder: string,
  segments: readonly Segment[],
  disk: CustodyDisk,
): Promise<ChainEnd | undefined> {
  const earlier = segments.at(-2)
  if (earlier === undefined) return undefined
  return walk(await disk.read(segmentPath(folder, earlier)), { before: undefined, known: undefined }).lastStated
}

async function openSegment(
  folder: string,
  segment: Segment,
  { sizeBytes, end }: { readonly sizeBytes: number; readonly end: ChainEnd },
  disk: CustodyDisk,
): Promise<CustodyTail> {
  const path = segmentPath(folder, segment)
  const file = await disk.open(path)
  // Bytes just read may never have reached the disk, so they are synced before new entries follow.
  await file.truncate(sizeBytes)
  await file.sync()
  const inode = (await disk.look(path))?.inode ?? 0
  return { segment, file, inode, sizeBytes, end }
}

/** Keeps the removed bytes in a file of their own, so that they can be examined later. */
async function quarantine(
  folder: string,
  segment: Segment,
  bytes: Buffer,
  offset: number,
  disk: CustodyDisk,
): Promise<void> {
  const path = join(folder, `${segment.name}.torn-${offset}`)
  const left = await disk.look(path)
  const file = left === undefined ? await disk.create(path) : await disk.open(path)
  try {
    await file.truncate(0)
    await file.write(bytes, 0)
    await file.sync()
  } finally {
    await file.close()
  }
  await disk.syncFolder(folder)
}

/**
 * Adds notes about quarantined files that are not in the log yet, including those of earlier runs
 * that crashed.
 */
async function withSetAside(
  folder: string,
  tail: CustodyTail,
  notes: readonly CustodyDraft[],
  disk: CustodyDisk,
): Promise<OpenedTail> {
  const names = (await disk.list(folder)).filter((name) => /\.torn-\d+$/.test(name)).toSorted()
  const repairs: CustodyDraft[] = []
  for (const name of names) {
    const bytes = await disk.read(join(folder, name))
    const sha256 = createHash('sha256').update(bytes).digest('hex')
    repairs.push({
      actor: AGENT_ACTOR,
      action: 'log.repair',
      outcome: 'done',
      detail: { file: name, bytes: bytes.length, sha256 },
    })
  }
  return { tail, notes: [...notes, ...repairs], quarantine: names }
}

function tampering(detail: Readonly<Record<string, unknown>>): CustodyDraft {
  return { actor: AGENT_ACTOR, action: 'tampering', detail, outcome: 'done' }
}
