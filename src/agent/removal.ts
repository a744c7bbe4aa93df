import { lstatSync, unlinkSync } from 'node:fs'
import type { Checkpoint } from '../checkpoint/checkpoint.ts'
import { ConflictError } from '../shared/errors.ts'
import { generationOf } from './file-generation.ts'
import { openDirectory, type OpenDirectory } from './open-directory.ts'
import { readPin } from './pins.ts'

export interface RemovalOptions {
  readonly directory: string
  /** Somebody reads the archive. */
  readonly isInUse: (id: string) => boolean
  readonly now: () => Date
}

/** What is incomplete and changed this recently is most likely still being written. */
const STILL_WRITTEN_MS = 60_000

/** Throws ConflictError (`Pinned`, `InUse`, `BeingWritten`, `CheckpointChanged`) where the archive must stay. */
export function assertRemovable(checkpoint: Checkpoint, { directory, isInUse, now }: RemovalOptions): void {
  using folder = openDirectory(directory)
  assertUntouched(checkpoint, folder)
  if (isInUse(checkpoint.id)) {
    throw refused(checkpoint, 'it is being read', {
      code: 'InUse',
      hint: 'Ask again when the download is over; a reader holds an archive for content.maxHold at most.',
    })
  }
  const { mtimeMs } = lstatSync(folder.pathOf(checkpoint.rawName))
  if (checkpoint.state === 'incomplete' && now().getTime() - mtimeMs < STILL_WRITTEN_MS) {
    throw refused(checkpoint, 'it is being written', {
      code: 'BeingWritten',
      hint: 'Ask again when it is whole, or when nothing was added to it for a minute.',
    })
  }
}

/**
 * Removes the file of this very generation, and returns once that is on the disk. Looks again at all that may have
 * changed since it was asked whether it may go. Throws ConflictError; nothing is removed then.
 */
export function removeArchive(checkpoint: Checkpoint, options: RemovalOptions): void {
  assertRemovable(checkpoint, options)
  using folder = openDirectory(options.directory)
  assertUntouched(checkpoint, folder)
  unlinkSync(folder.pathOf(checkpoint.rawName))
  folder.sync()
}

function assertUntouched(checkpoint: Checkpoint, folder: OpenDirectory): void {
  const path = folder.pathOf(checkpoint.rawName)
  const stat = lstatSync(path, { bigint: true, throwIfNoEntry: false })
  if (stat?.isFile() !== true || generationOf(stat) !== checkpoint.generation) {
    throw refused(checkpoint, 'its file was replaced, changed or removed a moment ago', {
      code: 'CheckpointChanged',
      hint: 'Read the checkpoint again, and ask anew.',
    })
  }
  const pin = readPin(path)
  if (pin !== undefined) {
    throw refused(checkpoint, pin.reason === undefined ? 'it is pinned' : `it is pinned: ${pin.reason}`, {
      code: 'Pinned',
      hint: `Unpin it first: DELETE /v1/checkpoints/${checkpoint.id}/pin`,
    })
  }
}

function refused(
  { id }: Checkpoint,
  why: string,
  details: { readonly code: string; readonly hint: string },
): ConflictError {
  return new ConflictError(`Cannot remove checkpoint "${id}": ${why}`, details)
}
