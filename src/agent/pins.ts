import { closeSync, constants, fstatSync, lstatSync, openSync, readSync } from 'node:fs'
import { open, rename } from 'node:fs/promises'
import { join } from 'node:path'
import type { CheckpointPin } from '../checkpoint/checkpoint.ts'
import { isSystemError } from '../shared/errors.ts'
import { escapeUnreadable } from '../shared/readable-text.ts'

export interface PinNote {
  readonly reason: string | undefined
  readonly by: string
  readonly at: Date
}

/** Writes `<archive>.keep`, the marker that retention and the checkpoint-restore operator leave alone. */
export async function writePin(directory: string, archive: string, { reason, by, at }: PinNote): Promise<void> {
  const marker = join(directory, `${archive}.keep`)
  const note = { pinnedBy: 'checkpoint-agent', user: by, at: at.toISOString(), ...(reason !== undefined && { reason }) }
  await using file = await open(`${marker}.tmp`, 'w', 0o600)
  await file.writeFile(`${JSON.stringify(note)}\n`)
  await file.sync()
  await rename(`${marker}.tmp`, marker)
}

/** Larger markers are taken for what a person wrote there. */
const MAX_MARKER_BYTES = 64 * 1024

/** Who pinned the archive; undefined when nobody has. A marker that cannot be read still pins: keeping is the safe side. */
export function readPin(archivePath: Buffer): CheckpointPin | undefined {
  const path = Buffer.concat([archivePath, Buffer.from('.keep')])
  // Most archives have none, and an error is dearer than a look.
  if (lstatSync(path, { throwIfNoEntry: false }) === undefined) return undefined
  let descriptor: number
  try {
    descriptor = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
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
