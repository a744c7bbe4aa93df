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

/** Result of examining and reading a file in the directory. */
export interface ArchiveLook {
  /** State of the archive's end. `whole`: the end is present and valid. */
  readonly end: 'whole' | 'incomplete' | 'damaged'
  /** The archive's row without a digest. Its state is that of `end`, and callers that know more correct it. */
  readonly checkpoint: Checkpoint
  readonly stat: BigIntStats
  /** Time at which the agent itself changed the permissions. Such a change does not come from the writer. */
  readonly repairedNs?: bigint
}

/** Result of reading a file, whatever its content. */
export type ReadOutcome = Exclude<SummaryOutcome, { readonly kind: 'changed' }>

/** Assesses a file from its metadata and from the result of the reader. */
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
 * Returns the outcome that is known before the file is read. An archive that this reader gave up is not tried again
 * until the file or the reader changes. A file that has only grown is not cheaper to read.
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

/** Returns whether a reader of another version gave up the archive, so that this one tries it. */
export function isForThisReader(row: Checkpoint): boolean {
  return wasGivenUp(row) && row.summary.givenUpBy !== READER_VERSION
}

/** Returns whether the archive is too expensive to read, so that its content is unknown. */
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
    // A note, not damage: the archive is hashed, sent and kept like any other.
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

/** Returns the finding for a file that cannot be read. The inventory lists such a file too. */
function unreadable(code: string, stat: BigIntStats): Problem {
  if (code === 'EACCES' || code === 'EPERM') return notReadable(code, stat)
  return { code: 'ReadFailed', weight: 'damage', detail: `the file cannot be read to its end (${code})` }
}

function notReadable(code: string, { uid }: BigIntStats): Problem {
  const detail = `the agent may not open the file (${code}): it belongs to user ${uid}; give it to root on the node with chown`
  return { code: 'NotReadable', weight: 'damage', detail }
}

/** Returns the time that the runtime reported, but never later than the file's modification time. */
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
