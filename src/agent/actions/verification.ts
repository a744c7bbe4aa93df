import { lstatSync } from 'node:fs'
import { checkpointChanged } from '../../checkpoint/changed-error.ts'
import type { Verification } from '../../checkpoint/verification.ts'
import type { Checkpoint } from '../../checkpoint/checkpoint.ts'
import { CallerLeftError, ConflictError } from '../../shared/errors.ts'
import { wasGivenUp, type ArchiveLook } from '../inventory/archive-assessment.ts'
import { pathOf } from '../inventory/archive-file.ts'
import { generationOf } from '../../checkpoint/generation.ts'
import type { HashQueue } from '../hashing/hash-queue.ts'
import type { ArchiveReader } from '../inspection/archive-reader.ts'
import { lookAtArchive } from '../inventory/single-look.ts'

export interface VerificationOptions {
  readonly directory: string
  /** Queue for verifications only: archives that wait for their first digest would delay them. */
  readonly hashes: HashQueue
  readonly reader: Pick<ArchiveReader, 'summarize'>
  /** Digest that the custody log holds for this file, if any. */
  readonly recordedSha256: string | undefined
  readonly now: Date
  /** Aborts when no caller waits for the result any more. */
  readonly signal: AbortSignal
}

const CHANGING = { cause: 'its file changes or is gone', hint: 'Ask again when nobody writes to it.' }

/**
 * Reads and checks the whole archive. Throws ConflictError if the file changes meanwhile or cannot be read to its end.
 */
export async function verifyArchive(
  checkpoint: Checkpoint,
  { directory, hashes, reader, recordedSha256, now, signal }: VerificationOptions,
): Promise<Verification> {
  const { rawName, sha256: indexed } = checkpoint
  const path = pathOf(directory, rawName)
  const stat = lstatSync(path, { bigint: true, throwIfNoEntry: false })
  if (stat?.isFile() !== true) throw checkpointChanged(`verify checkpoint "${checkpoint.id}"`, CHANGING)
  const generation = generationOf(stat)
  const answer = await hashes.hash({ path, generation }, signal)
  if (signal.aborted) throw new CallerLeftError()
  if (answer.kind === 'failed') {
    throw new ConflictError(`Cannot verify checkpoint "${checkpoint.id}": it cannot be read to its end`, {
      code: 'NotReadable',
      hint: `The file system says ${answer.code}; see the disk's log on the node.`,
    })
  }
  if (answer.kind !== 'done') throw checkpointChanged(`verify checkpoint "${checkpoint.id}"`, CHANGING)
  const look = await lookAtArchive(rawName, { directory, permissions: 'report', reader, row: checkpoint, signal, now })
  if (look === undefined || look.checkpoint.generation !== generation)
    throw checkpointChanged(`verify checkpoint "${checkpoint.id}"`, CHANGING)
  const index = compare(answer.sha256, indexed)
  const custody = compare(answer.sha256, recordedSha256)
  return {
    sha256: answer.sha256,
    sizeBytes: look.checkpoint.sizeBytes,
    problems: look.checkpoint.problems,
    index,
    custody,
    isIntact: isVouchedFor(look, [index, custody]),
  }
}

/**
 * Returns whether the archive may be called intact. An archive that was too expensive to read is intact only if its
 * digest matches a recorded one.
 */
function isVouchedFor({ end, checkpoint }: ArchiveLook, recorded: readonly Verification['index'][]): boolean {
  if (end !== 'whole' || recorded.includes('different')) return false
  return !wasGivenUp(checkpoint) || recorded.includes('same')
}

function compare(found: string, recorded: string | undefined): 'same' | 'different' | undefined {
  if (recorded === undefined) return undefined
  return found === recorded ? 'same' : 'different'
}
