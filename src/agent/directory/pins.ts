import { closeSync, constants, fstatSync, lstatSync, readSync, unlinkSync } from 'node:fs'
import { open, rename } from 'node:fs/promises'
import { openNoFollowSync } from '../../shared/open-no-follow.ts'
import type { CheckpointPin } from '../../checkpoint/checkpoint.ts'
import { PIN_DRAFT_SUFFIX, PIN_SUFFIX } from '../../checkpoint/pin-marker.ts'
import { ConflictError, isSystemError } from '../../shared/errors.ts'
import { escapeUnreadable } from '../../shared/readable-text.ts'
import { pathOf } from '../inventory/archive-file.ts'
import { openDirectory } from './open-directory.ts'

export interface PinNote {
  readonly reason: string | undefined
  readonly by: string
  readonly at: Date
}

const MARKER = Buffer.from(PIN_SUFFIX)

/** Writes `<archive>.keep`, a marker that retention and the checkpoint-restore operator respect. */
export async function writePin(
  directory: string,
  archive: string | Uint8Array,
  { reason, by, at }: PinNote,
): Promise<void> {
  const pathOfArchive = pathOf(directory, Buffer.from(archive))
  const marker = Buffer.concat([pathOfArchive, MARKER])
  const draft = Buffer.concat([pathOfArchive, Buffer.from(PIN_DRAFT_SUFFIX)])
  await writeMarker(draft, { reason, by, at })
  await rename(draft, marker)
  using folder = openDirectory(directory)
  folder.sync()
}

/** Writes the content of a marker to this file and returns once it is on disk. */
export async function writeMarker(path: string | Buffer, { reason, by, at }: PinNote): Promise<void> {
  const note = { pinnedBy: 'checkpoint-agent', user: by, at: at.toISOString(), ...(reason !== undefined && { reason }) }
  // A draft left by a crash is overwritten, and a link in its place is not followed.
  const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_TRUNC | constants.O_NOFOLLOW
  await using file = await open(path, flags, 0o600)
  await file.writeFile(`${JSON.stringify(note)}\n`)
  await file.sync()
}

/**
 * Removes a marker that the agent or a person wrote. Throws ConflictError for a marker that the operator manages, and
 * for one that is not a plain file or is too large. Returns false if there is no marker.
 */
export function removePin(archivePath: Buffer): boolean {
  const marker = Buffer.concat([archivePath, MARKER])
  const stat = lstatSync(marker, { throwIfNoEntry: false })
  if (stat === undefined) return false
  if (!stat.isFile() || stat.size > MAX_MARKER_BYTES) {
    throw new ConflictError('Cannot unpin: the marker beside the archive is nothing that this agent knows', {
      code: 'PinNotRecognized',
      hint: 'Look at the file with the suffix ".keep" on the node, and remove it there.',
    })
  }
  assertNotManaged(readPin(archivePath))
  unlinkSync(marker)
  return true
}

/** Throws ConflictError if the marker is managed by the checkpoint-restore operator. */
export function assertNotManaged(pin: CheckpointPin | undefined): void {
  if (pin?.by !== 'operator') return
  throw new ConflictError('Cannot change the pin: the checkpoint-restore operator manages it', {
    code: 'PinManaged',
    hint: 'Change it where the operator is told what to keep; its marker goes when its last owner lets go.',
  })
}

/** Maximum size of a marker that is parsed. A larger one counts as written by a person. */
const MAX_MARKER_BYTES = 64 * 1024

/**
 * Returns the pin of an archive, or undefined if it is not pinned. A marker that cannot be read still pins the archive,
 * which errs on the side of keeping.
 */
export function readPin(archivePath: Buffer): CheckpointPin | undefined {
  const path = Buffer.concat([archivePath, MARKER])
  // Most archives have no marker, and this check costs less than an error.
  if (lstatSync(path, { throwIfNoEntry: false }) === undefined) return undefined
  let descriptor: number
  try {
    descriptor = openNoFollowSync(path)
  } catch (error) {
    return isSystemError(error, 'ENOENT') ? undefined : { by: 'manual' }
  }
  try {
    const { size } = fstatSync(descriptor)
    if (size > MAX_MARKER_BYTES) return { by: 'manual' }
    const bytes = Buffer.alloc(size)
    return parsePin(bytes.toString('utf8', 0, readSync(descriptor, bytes, 0, size, 0)))
  } catch {
    return { by: 'manual' }
  } finally {
    closeSync(descriptor)
  }
}

function parsePin(text: string): CheckpointPin {
  try {
    const note: unknown = JSON.parse(text)
    if (typeof note !== 'object' || note === null) return { by: 'manual' }
    if ('pinnedBy' in note && note.pinnedBy === 'checkpoint-agent') {
      const reason = 'reason' in note && typeof note.reason === 'string' ? escapeUnreadable(note.reason) : undefined
      return { by: 'us', ...(reason !== undefined && { reason }) }
    }
    return { by: 'owners' in note ? 'operator' : 'manual' }
  } catch {
    return { by: 'manual' }
  }
}
