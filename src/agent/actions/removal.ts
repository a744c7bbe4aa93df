import { close, closeSync, lstatSync, unlinkSync, type BigIntStats } from 'node:fs'
import { promisify } from 'node:util'
import { checkpointChanged } from '../../checkpoint/changed-error.ts'
import { openNoFollowSync } from '../../shared/open-no-follow.ts'
import type { Checkpoint } from '../../checkpoint/checkpoint.ts'
import { ConflictError } from '../../shared/errors.ts'
import { generationOf } from '../../checkpoint/generation.ts'
import { openDirectory, type OpenDirectory } from '../directory/open-directory.ts'
import { readPin } from '../directory/pins.ts'

export interface RemovalOptions {
  readonly directory: string
  /** Somebody reads the archive. */
  readonly isInUse: (id: string) => boolean
  readonly now: () => Date
}

type ArchiveFile = Pick<Checkpoint, 'id' | 'rawName' | 'generation' | 'state'>

/** What is incomplete and changed this recently is most likely still being written. */
const STILL_WRITTEN_MS = 60_000

const release = promisify(close)

/** Throws ConflictError (`Pinned`, `InUse`, `BeingWritten`, `CheckpointChanged`) where the archive must stay. */
export function assertRemovable(checkpoint: ArchiveFile, options: RemovalOptions): void {
  using folder = openDirectory(options.directory)
  assertRemovableIn(folder, checkpoint, options)
}

/**
 * Removes the file of this very generation, and resolves once that is on the disk. Looks again at all that may have
 * changed since it was asked whether it may go. Rejects with ConflictError; nothing is removed then.
 */
export async function removeArchive(checkpoint: ArchiveFile, options: RemovalOptions): Promise<void> {
  using folder = openDirectory(options.directory)
  await unlinkArchive(checkpoint, folder, options).whenFreed
  await folder.flush()
}

/** Its name is gone. */
export interface Unlinked {
  /** Resolves when its room is free. */
  readonly whenFreed: Promise<void>
}

/** The same in a directory that the caller flushes. Throws; the last look and the removal are one step. */
export function unlinkArchive(checkpoint: ArchiveFile, folder: OpenDirectory, options: RemovalOptions): Unlinked {
  assertRemovableIn(folder, checkpoint, options)
  const path = folder.pathOf(checkpoint.rawName)
  // Whoever lets go of a file last waits for its blocks to be freed, nine tenths of the time that a removal takes: this
  // way a thread of the pool does.
  const hold = holdOpen(path)
  try {
    unlinkSync(path)
  } catch (error) {
    if (hold !== undefined) closeSync(hold)
    throw error
  }
  // The name is gone, whatever is said of it now.
  return { whenFreed: hold === undefined ? Promise.resolve() : release(hold).catch(() => undefined) }
}

function holdOpen(path: Buffer): number | undefined {
  try {
    return openNoFollowSync(path)
  } catch {
    return undefined
  }
}

/** The same as `assertRemovable`, in a directory that is open already. */
export function assertRemovableIn(
  folder: OpenDirectory,
  checkpoint: ArchiveFile,
  { isInUse, now }: Pick<RemovalOptions, 'isInUse' | 'now'>,
): void {
  const stat = assertUntouched(checkpoint, folder)
  if (isInUse(checkpoint.id)) {
    throw refused(checkpoint, 'it is being read', {
      code: 'InUse',
      hint: 'Ask again when the download is over; a reader holds an archive for content.maxHold at most.',
    })
  }
  if (checkpoint.state === 'incomplete' && now().getTime() - Number(stat.mtimeMs) < STILL_WRITTEN_MS) {
    throw refused(checkpoint, 'it is being written', {
      code: 'BeingWritten',
      hint: 'Ask again when it is whole, or when nothing was added to it for a minute.',
    })
  }
}

function assertUntouched(checkpoint: ArchiveFile, folder: OpenDirectory): BigIntStats {
  const path = folder.pathOf(checkpoint.rawName)
  const stat = lstatSync(path, { bigint: true, throwIfNoEntry: false })
  if (stat?.isFile() !== true || generationOf(stat) !== checkpoint.generation) {
    throw checkpointChanged(`remove checkpoint "${checkpoint.id}"`)
  }
  const pin = readPin(path)
  if (pin !== undefined) {
    throw refused(checkpoint, pin.reason === undefined ? 'it is pinned' : `it is pinned: ${pin.reason}`, {
      code: 'Pinned',
      hint: `Unpin it first: DELETE /v1/checkpoints/${checkpoint.id}/pin`,
    })
  }
  return stat
}

function refused(
  { id }: ArchiveFile,
  why: string,
  details: { readonly code: string; readonly hint: string },
): ConflictError {
  return new ConflictError(`Cannot remove checkpoint "${id}": ${why}`, details)
}
