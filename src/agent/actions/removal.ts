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
  /** Returns whether the archive is being read. */
  readonly isInUse: (id: string) => boolean
  readonly now: () => Date
}

type ArchiveFile = Pick<Checkpoint, 'id' | 'rawName' | 'generation' | 'state'>

/** An incomplete file that changed within this time is probably still being written. */
const STILL_WRITTEN_MS = 60_000

const release = promisify(close)

/** Throws ConflictError (`Pinned`, `InUse`, `BeingWritten`, `CheckpointChanged`) if the archive must be kept. */
export function assertRemovable(checkpoint: ArchiveFile, options: RemovalOptions): void {
  using folder = openDirectory(options.directory)
  assertRemovableIn(folder, checkpoint, options)
}

/**
 * Removes this generation of the file and resolves once the removal is on disk. Repeats every check that may have
 * become outdated since the removal was allowed. If it rejects with ConflictError, nothing is removed.
 */
export async function removeArchive(checkpoint: ArchiveFile, options: RemovalOptions): Promise<void> {
  using folder = openDirectory(options.directory)
  await unlinkArchive(checkpoint, folder, options).whenFreed
  await folder.flush()
}

/** Result of an unlink: the name of the archive is gone. */
export interface Unlinked {
  /** Resolves once the disk space of the archive is free. */
  readonly whenFreed: Promise<void>
}

/**
 * Removes the archive from a directory that the caller flushes. Throws ConflictError if it must be kept. No other code
 * runs between the last check and the removal.
 */
export function unlinkArchive(checkpoint: ArchiveFile, folder: OpenDirectory, options: RemovalOptions): Unlinked {
  assertRemovableIn(folder, checkpoint, options)
  const path = folder.pathOf(checkpoint.rawName)
  // Closing the last handle of a file frees its blocks, which takes nine tenths of the time of a removal. Holding the
  // file open moves that work to a thread of the pool.
  const hold = holdOpen(path)
  try {
    unlinkSync(path)
  } catch (error) {
    if (hold !== undefined) closeSync(hold)
    throw error
  }
  // The name is already gone, so an error of this close changes nothing.
  return { whenFreed: hold === undefined ? Promise.resolve() : release(hold).catch(() => undefined) }
}

function holdOpen(path: Buffer): number | undefined {
  try {
    return openNoFollowSync(path)
  } catch {
    return undefined
  }
}

/** Throws like `assertRemovable`, for a directory that is already open. */
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
