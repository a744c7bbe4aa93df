import { constants } from 'node:fs'
import { link, lstat, open, unlink, type FileHandle } from 'node:fs/promises'
import { join } from 'node:path'
import { formatArchiveName, type ArchiveNameParts } from '../../checkpoint/archive-name.ts'
import { isSystemError, OutOfSpaceError, RuntimeFailureError, UnavailableError } from '../../shared/errors.ts'
import { failPoint } from '../../shared/fail-point.ts'
import { openDirectory } from '../directory/open-directory.ts'
import { pinMarkerOf } from '../../checkpoint/pin-marker.ts'
import type { StagedArchive, StagedCheck } from './staged-check.ts'

/**
 * Opens the archive that the runtime left in staging. Throws RuntimeFailureError if there is none or it is not a
 * regular file.
 */
export async function openStaged(path: string): Promise<FileHandle> {
  const file = await open(path, constants.O_RDWR | constants.O_NOFOLLOW).catch((error: unknown) => {
    if (isSystemError(error, 'ENOENT')) {
      throw incomplete(
        'the runtime reported success and wrote no archive',
        'See that the runtime runs on this node and that checkpoints.directory is the same path for both.',
      )
    }
    throw error
  })
  if ((await file.stat()).isFile()) return file
  await file.close()
  throw incomplete(
    'what lies in staging is not a regular file',
    'Look at the staging folder: only the runtime and the agent write there.',
  )
}

/**
 * Throws RuntimeFailureError unless the archive ends properly and nothing follows, and UnavailableError
 * (`ArchiveUnchecked`) if that cannot be determined.
 */
export async function assertWhole(archive: StagedArchive, { check }: StagedCheck): Promise<void> {
  const verdict = await check(archive)
  if ('kind' in verdict) {
    throw new UnavailableError(`Cannot tell whether the archive is whole: ${verdict.why}`, {
      code: UNCHECKED,
      hint: 'See the log of the agent for what ended its reader.',
    })
  }
  if (verdict.isWhole) return
  throw incomplete(
    `the archive is not whole: ${verdict.reason} at byte ${verdict.offset} of ${archive.sizeBytes}`,
    "Take the checkpoint again; if it stays, see the runtime's log and the free space on the node.",
  )
}

const UNCHECKED = 'ArchiveUnchecked'

/** Returns whether the error says that an archive could not be checked. Such an archive is not removed. */
export function isUnchecked(error: unknown): boolean {
  return error instanceof UnavailableError && error.code === UNCHECKED
}

export interface PublishOptions {
  readonly staged: string
  /** Staged pin marker of the archive. It is linked to its final name before the archive. */
  readonly stagedMarker?: string
  readonly directory: string
  readonly parts: ArchiveNameParts
  /** Called before each name is tried, so that the next start can repair a crash in between. */
  readonly onName: (fileName: string) => void
}

/**
 * Links the staged file to its final name and never overwrites another file: if a name is taken, the next second is
 * tried. After the return, the name survives a power failure. The staged name remains.
 */
export async function publish(options: PublishOptions): Promise<string> {
  using directory = openDirectory(options.directory)
  const fileName = await linkUnderFreeName(options)
  failPoint('capture.linked')
  await directory.flush()
  failPoint('capture.published')
  return fileName
}

/** Seconds of a day: one name for each second. */
const MAX_NAMES = 86_400

async function linkUnderFreeName({ staged, stagedMarker, directory, parts, onName }: PublishOptions): Promise<string> {
  for (let second = 0; second < MAX_NAMES; second += 1) {
    const takenAt = new Date(parts.takenAt.getTime() + second * 1000)
    const fileName = formatArchiveName({ ...parts, takenAt })
    onName(fileName)
    failPoint('capture.named')
    // A marker of another origin is left in place. The agent's own marker could not be told from it, so the next name
    // is tried.
    if (stagedMarker !== undefined && !(await linkUnlessTaken(stagedMarker, join(directory, pinMarkerOf(fileName)))))
      continue
    failPoint('capture.marked')
    let isPublished = false
    try {
      isPublished = await linkUnlessTaken(staged, join(directory, fileName))
    } finally {
      if (!isPublished && stagedMarker !== undefined) await removeOwnMarker({ stagedMarker, directory, fileName })
    }
    if (isPublished) return fileName
  }
  throw new Error(`no free name within ${MAX_NAMES} seconds`)
}

/** Links the file. Returns false if another file has this name. */
async function linkUnlessTaken(file: string, name: string): Promise<boolean> {
  try {
    await link(file, name)
    return true
  } catch (error) {
    if (isSystemError(error, 'EEXIST')) return false
    throw explainDiskError(error)
  }
}

/** Removes the agent's marker for a name that the archive did not get. A marker of another origin stays. */
export async function removeOwnMarker({
  stagedMarker,
  directory,
  fileName,
}: {
  readonly stagedMarker: string
  readonly directory: string
  readonly fileName: string
}): Promise<void> {
  const name = join(directory, pinMarkerOf(fileName))
  const [ours, there] = await Promise.all([findInode(stagedMarker), findInode(name)])
  if (ours !== undefined && ours === there) await unlink(name)
}

async function findInode(path: string): Promise<number | undefined> {
  try {
    return (await lstat(path)).ino
  } catch (error) {
    if (isSystemError(error, 'ENOENT')) return undefined
    throw error
  }
}

export async function syncDirectory(directory: string): Promise<void> {
  await using handle = await open(directory, constants.O_RDONLY | constants.O_DIRECTORY)
  await handle.sync()
}

/** Converts an error of a full disk to one with a hint. Returns other errors unchanged. */
export function explainDiskError(error: unknown): unknown {
  if (!isSystemError(error, 'ENOSPC', 'EDQUOT')) return error
  return new OutOfSpaceError('Cannot keep the archive: the disk of the checkpoint directory is full', {
    code: 'DiskFull',
    hint: 'Free space in the checkpoint directory and take the checkpoint again.',
    cause: error,
  })
}

function incomplete(what: string, hint: string): RuntimeFailureError {
  return new RuntimeFailureError(`Cannot publish the archive: ${what}`, { code: 'ArchiveIncomplete', hint })
}
