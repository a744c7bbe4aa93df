import { fstatSync, type BigIntStats } from 'node:fs'
import type { FileHandle } from 'node:fs/promises'
import { checkpointChanged } from '../../checkpoint/changed-error.ts'
import { openNoFollow } from '../../shared/open-no-follow.ts'
import { fileSource, type ByteSource } from '../../streams/byte-source.ts'
import type { Checkpoint } from '../../checkpoint/checkpoint.ts'
import { ConflictError, isSystemError } from '../../shared/errors.ts'
import { pathOf } from '../inventory/archive-file.ts'
import { generationOf, inodeOf } from '../../checkpoint/generation.ts'
import type { ArchiveFile } from '../inspection/archive-reader.ts'

/** An archive that is held open for reading. */
export interface ContentFile {
  readonly sizeBytes: number
  /** Generation of the file when it was opened. */
  readonly generation: string
  /** Description of the file for the reader, which opens the file itself. */
  readonly forReader: ArchiveFile
  /** Opens the bytes of the file. Reading throws once the signal aborts. */
  readonly source: (signal: AbortSignal) => ByteSource
  /** Throws ConflictError (`CheckpointChanged`) once the file is replaced or gone. */
  readonly assertSame: () => void
  readonly close: () => Promise<void>
}

export interface ContentFileOptions {
  readonly directory: string
  /** Whether to accept an archive that is still being written, with the bytes that are there now. */
  readonly acceptsIncomplete: boolean
}

/** Opens an archive for reading. Throws ConflictError (`ArchiveIncomplete`, `CheckpointChanged`, `NotReadable`). */
export async function openContentFile(
  checkpoint: Checkpoint,
  { directory, acceptsIncomplete }: ContentFileOptions,
): Promise<ContentFile> {
  const isWhole = checkpoint.state !== 'incomplete' && checkpoint.state !== 'discovered'
  if (!isWhole && !acceptsIncomplete) throw incomplete(checkpoint)
  const file = await openFile(checkpoint, directory)
  try {
    const opened = fstatSync(file.fd, { bigint: true })
    const isMeant = (stat: BigIntStats) =>
      stat.isFile() && stat.nlink > 0n && (isWhole ? isSame(stat, checkpoint) : isGrown(stat, checkpoint, opened.size))
    if (!isMeant(opened)) throw checkpointChanged(`read checkpoint "${checkpoint.id}"`)
    const sizeBytes = Number(opened.size)
    return {
      sizeBytes,
      generation: generationOf(opened),
      forReader: {
        path: Buffer.from(checkpoint.rawName),
        generation: generationOf(opened),
        sizeBytes,
        mayGrow: !isWhole,
      },
      source: (signal) => untilAborted(fileSource(file, sizeBytes), signal),
      assertSame: () => {
        if (!isMeant(fstatSync(file.fd, { bigint: true })))
          throw checkpointChanged(`read checkpoint "${checkpoint.id}"`)
      },
      close: () => file.close(),
    }
  } catch (error) {
    await file.close()
    throw error
  }
}

function isSame(stat: BigIntStats, { generation }: Checkpoint): boolean {
  return generationOf(stat) === generation
}

/**
 * Returns whether a growing file is still the same and not truncated. Its generation changes with each write, so it
 * cannot be compared.
 */
function isGrown(stat: BigIntStats, { generation }: Checkpoint, sizeBytes: bigint): boolean {
  return inodeOf(generationOf(stat)) === inodeOf(generation) && stat.size >= sizeBytes
}

async function openFile(checkpoint: Checkpoint, directory: string): Promise<FileHandle> {
  try {
    return await openNoFollow(pathOf(directory, checkpoint.rawName))
  } catch (error) {
    if (isSystemError(error, 'ENOENT', 'ELOOP', 'ENXIO')) throw checkpointChanged(`read checkpoint "${checkpoint.id}"`)
    if (!isSystemError(error, 'EACCES', 'EPERM', 'EIO')) throw error
    throw new ConflictError(`Cannot read checkpoint "${checkpoint.id}": the file system says ${error.code}`, {
      code: 'NotReadable',
      hint: "See the checkpoint's problems: the file belongs to somebody else, or its disk is failing.",
      cause: error,
    })
  }
}

/** Stops reading when the caller disconnects. A lot may be read before the first byte can be sent. */
function untilAborted(source: ByteSource, signal: AbortSignal): ByteSource {
  return {
    sizeBytes: source.sizeBytes,
    read: (into, at, length, position) => {
      signal.throwIfAborted()
      return source.read(into, at, length, position)
    },
  }
}

function incomplete({ id, state }: Checkpoint): ConflictError {
  const what = state === 'incomplete' ? 'its end is missing' : 'it may still be being written'
  return new ConflictError(`Cannot hand out checkpoint "${id}": ${what}`, {
    code: 'ArchiveIncomplete',
    hint: 'Ask again in some seconds, or take as much as is there with "?incomplete=true".',
  })
}
