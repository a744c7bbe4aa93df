import { z } from 'zod'
import type { Checkpoint } from '../checkpoint/checkpoint.ts'
import { ConflictError, InvalidInputError } from '../shared/errors.ts'
import { generationTag } from './checkpoint-response.ts'
import { continueToken, writeToken } from '../api/continue-token.ts'

const position = z.strictObject({ id: z.string(), generation: z.string(), skip: z.int().positive() })

export type ArchivePosition = z.infer<typeof position>

/** Parses the `continue` token of a list that each page reads from the archive anew. */
export const archivePosition = continueToken(position)

/** Returns the `continue` token for the next page; undefined on the last page. */
export function writePosition(checkpoint: Checkpoint, skip: number, remaining: number): string | undefined {
  if (remaining === 0) return undefined
  return writeToken({ id: checkpoint.id, generation: generationTag(checkpoint), skip } satisfies ArchivePosition)
}

/**
 * Checks that a position still fits the checkpoint. Throws InvalidInputError if it belongs to another checkpoint, and
 * ConflictError (`CheckpointChanged`) if the file has changed since.
 */
export function assertSameArchive(checkpoint: Checkpoint, { id, generation }: ArchivePosition): void {
  if (id !== checkpoint.id) {
    const reason = 'belongs to another checkpoint'
    throw new InvalidInputError(`Cannot read the request query: "continue" ${reason}`, {
      code: 'InvalidRequest',
      extra: { problems: [{ in: 'query', name: 'continue', reason }] },
    })
  }
  if (generation !== generationTag(checkpoint)) {
    throw new ConflictError(`Cannot go on with the list of checkpoint "${id}": its file has changed since`, {
      code: 'CheckpointChanged',
      hint: 'Begin again without "continue"; while an archive is being written, each look shows more of it.',
    })
  }
}
