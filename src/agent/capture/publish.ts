import { constants } from 'node:fs'
import { link, open, unlink, type FileHandle } from 'node:fs/promises'
import { join } from 'node:path'
import { findTarEnd } from '../../archive/tar-end.ts'
import { formatArchiveName, type ArchiveNameParts } from '../../checkpoint/archive-name.ts'
import { isSystemError, OutOfSpaceError, RuntimeFailureError } from '../../shared/errors.ts'
import { failPoint } from '../../shared/fail-point.ts'

/** Opens what the runtime left in staging. Throws a RuntimeFailureError when there is nothing, or something else. */
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

/** Throws a RuntimeFailureError unless the tar ends as it should and nothing follows. */
export async function assertWhole(file: FileHandle): Promise<number> {
  const { size } = await file.stat()
  const end = await findTarEnd(file, size)
  if (end.isWhole) return size
  throw incomplete(
    `the archive is not whole: ${end.reason} at byte ${end.offset} of ${size}`,
    "Take the checkpoint again; if it stays, see the runtime's log and the free space on the node.",
  )
}

export interface PublishOptions {
  readonly staged: string
  readonly directory: string
  readonly parts: ArchiveNameParts
  /** Told before a name is tried, so that a crash in between can be mended. */
  readonly onName: (fileName: string) => void
}

/**
 * Gives the staged file its final name without ever overwriting another: a name that is taken gives way to the next
 * free second. Once this returns, the name survives a power cut.
 */
export async function publish({ staged, directory, parts, onName }: PublishOptions): Promise<string> {
  const fileName = await linkUnderFreeName({ staged, directory, parts, onName })
  failPoint('capture.linked')
  await unlink(staged)
  failPoint('capture.unlinked')
  await syncDirectory(directory)
  failPoint('capture.published')
  return fileName
}

/** A day of captures, one a second. */
const MAX_NAMES = 86_400

async function linkUnderFreeName({ staged, directory, parts, onName }: PublishOptions): Promise<string> {
  for (let second = 0; second < MAX_NAMES; second += 1) {
    const takenAt = new Date(parts.takenAt.getTime() + second * 1000)
    const fileName = formatArchiveName({ ...parts, takenAt })
    onName(fileName)
    failPoint('capture.named')
    try {
      await link(staged, join(directory, fileName))
      return fileName
    } catch (error) {
      if (!isSystemError(error, 'EEXIST')) throw explainDiskError(error)
    }
  }
  throw new Error(`no free name within ${MAX_NAMES} seconds`)
}

export async function syncDirectory(directory: string): Promise<void> {
  await using handle = await open(directory, constants.O_RDONLY | constants.O_DIRECTORY)
  await handle.sync()
}

/** An error of the disk as one that says what to do; any other as it is. */
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
