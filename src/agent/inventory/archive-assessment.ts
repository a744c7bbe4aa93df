import type { BigIntStats } from 'node:fs'
import { assessIdentity } from '../../archive/identity-assessment.ts'
import { formatInstant, instantToMillis } from '../../archive/instant.ts'
import type { Checkpoint, CheckpointIdentity, CheckpointSummary } from '../../checkpoint/checkpoint.ts'
import { checkpointId } from '../../checkpoint/checkpoint-id.ts'
import type { Problem } from '../../checkpoint/problem.ts'
import { readableText } from '../../shared/readable-text.ts'
import type { ExaminedFile } from './archive-file.ts'
import { hasProblem } from './archive-row.ts'
import { generationOf, inodeOf } from '../../checkpoint/generation.ts'
import type { SummaryOutcome } from '../inspection/archive-reader.ts'
import type { ArchiveSummary } from '../inspection/archive-summary.ts'
import { READER_VERSION } from '../inspection/reader-limits.ts'

/** What one look at a file of the directory gave. */
export interface ArchiveLook {
  /** `whole`: its end is there and it is as it should be. */
  readonly end: 'whole' | 'incomplete' | 'damaged'
  /** Everything but the digest; its state is that of `end`, to be corrected by who knows more. */
  readonly checkpoint: Checkpoint
  readonly stat: BigIntStats
  /** When the agent itself changed its permissions, which is no sign of its writer. */
  readonly repairedNs?: bigint
}

/** How the reading of a file ended, whatever is in it. */
export type ReadOutcome = Exclude<SummaryOutcome, { readonly kind: 'changed' }>

/** Judges a file by what the agent sees of it and what the reader found in it. */
export function assessArchive(file: ExaminedFile, outcome: ReadOutcome, now: Date): ArchiveLook {
  const { stat, repairedNs } = file
  const { end, ...found } = findingsOf(file, outcome)
  const fileName = readableText(file.rawName)
  return {
    end,
    stat,
    ...(repairedNs !== undefined && { repairedNs }),
    checkpoint: {
      id: checkpointId(file.rawName),
      rawName: file.rawName,
      fileName,
      generation: generationOf(stat),
      state: end === 'whole' ? 'discovered' : end,
      problems: [...found.problems, ...file.problems],
      identity: assessIdentity({
        claim: found.claim,
        fileName,
        linkCount: Number(stat.nlink),
      }) satisfies CheckpointIdentity,
      engine: found.engine,
      sizeBytes: Number(stat.size),
      takenAt: clampToMtime(found.takenAt, stat),
      discoveredAt: now,
      summary: found.summary,
    },
  }
}

/**
 * What is known before anything is read. What this reader has given up is not tried again until the file, or the reader,
 * is another one; that it has grown since makes it no cheaper.
 */
export function outcomeOnRecord(row: Checkpoint | undefined, file: ExaminedFile): ReadOutcome | undefined {
  if (file.refusal !== undefined) return { kind: 'unreadable', code: file.refusal }
  if (row === undefined || row.summary.givenUpBy !== READER_VERSION) return undefined
  const generation = generationOf(file.stat)
  const isGrown =
    row.state === 'discovered' &&
    inodeOf(row.generation) === inodeOf(generation) &&
    row.sizeBytes <= Number(file.stat.size)
  if (row.generation !== generation && !isGrown) return undefined
  const problem = row.problems.find(({ code }) => code === TOO_EXPENSIVE)
  return problem && { kind: 'too-expensive', problem }
}

/** Whether a reader of another version gave it up: then this one tries. */
export function isForThisReader(row: Checkpoint): boolean {
  return wasGivenUp(row) && row.summary.givenUpBy !== READER_VERSION
}

/** Too expensive to be read: nobody knows what is in it. */
export function wasGivenUp(row: Checkpoint): boolean {
  return hasProblem(row, TOO_EXPENSIVE)
}

const TOO_EXPENSIVE = 'TooExpensive'

interface Findings extends Pick<ArchiveLook, 'end'> {
  readonly problems: readonly Problem[]
  readonly claim: ArchiveSummary['claim'] | undefined
  readonly engine: Checkpoint['engine']
  readonly takenAt: bigint | undefined
  readonly summary: CheckpointSummary
}

function findingsOf({ stat, refusal }: ExaminedFile, outcome: ReadOutcome): Findings {
  if (refusal !== undefined) return { ...NOTHING_FOUND, end: 'damaged', problems: [notReadable(refusal, stat)] }
  if (outcome.kind === 'unreadable') {
    return { ...NOTHING_FOUND, end: 'damaged', problems: [unreadable(outcome.code, stat)] }
  }
  if (outcome.kind === 'too-expensive') {
    // A note, no damage: it is hashed, handed out and kept like any other.
    const summary = { ...UNKNOWN, givenUpBy: READER_VERSION }
    return { ...NOTHING_FOUND, end: 'whole', problems: [outcome.problem], summary }
  }
  const { state, problems, claim, engine, takenAt } = outcome.summary
  return { end: state, problems, claim, engine, takenAt, summary: toSummary(outcome.summary) }
}

const UNKNOWN: CheckpointSummary = { kind: 'unknown', compression: 'none' }

const NOTHING_FOUND = {
  claim: undefined,
  engine: 'unknown',
  takenAt: undefined,
  summary: UNKNOWN,
} as const satisfies Partial<Findings>

/** Listed all the same: one unreadable archive must not be a hole in the inventory. */
function unreadable(code: string, stat: BigIntStats): Problem {
  if (code === 'EACCES' || code === 'EPERM') return notReadable(code, stat)
  return { code: 'ReadFailed', weight: 'damage', detail: `the file cannot be read to its end (${code})` }
}

function notReadable(code: string, { uid }: BigIntStats): Problem {
  const detail = `the agent may not open the file (${code}): it belongs to user ${uid}; give it to root on the node with chown`
  return { code: 'NotReadable', weight: 'damage', detail }
}

/** The runtime's word for when it was taken; a time after the file's last change cannot be true. */
function clampToMtime(takenAt: bigint | undefined, { mtimeNs }: BigIntStats): Checkpoint['takenAt'] {
  const instant = takenAt === undefined || takenAt > mtimeNs ? mtimeNs : takenAt
  return { text: formatInstant(instant), millis: instantToMillis(instant) }
}

function toSummary(summary: ArchiveSummary): CheckpointSummary {
  const { image, createdAt, startedAt, runtime, criuVersion, rootfsDiffBytes, processCount, dumpStatistics } = summary
  const hasContent = summary.kind !== 'unknown'
  return {
    kind: summary.kind,
    compression: summary.compression,
    ...(Object.keys(image).length > 0 && { image }),
    ...(runtime !== undefined && { runtime }),
    ...(criuVersion !== undefined && { criuVersion }),
    ...(createdAt !== undefined && { createdAt: formatInstant(createdAt) }),
    ...(startedAt !== undefined && { startedAt: formatInstant(startedAt) }),
    ...(hasContent && { memoryBytes: summary.memoryBytes, memberCount: summary.memberCount }),
    ...(rootfsDiffBytes !== undefined && { rootfsDiffBytes }),
    ...(processCount !== undefined && { processCount }),
    ...(dumpStatistics !== undefined && { dumpStatistics: { ...dumpStatistics } }),
  }
}
