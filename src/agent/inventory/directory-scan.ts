import { lstatSync, type BigIntStats } from 'node:fs'
import { opendir } from 'node:fs/promises'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { PIN_SUFFIX, pinMarkerOf } from '../../checkpoint/pin-marker.ts'
import { checkpointId } from '../../checkpoint/checkpoint-id.ts'
import { isSystemError } from '../../shared/errors.ts'
import type { CheckpointStore, KnownFile } from '../../store/checkpoint-store.ts'
import { isArchiveName, pathOf } from './archive-file.ts'
import { generationOf } from '../../checkpoint/generation.ts'

export interface DirectoryScan {
  readonly directory: string
  readonly store: Pick<CheckpointStore, 'listKnown'>
  /** Whether a look at this file, of the generation of its row, would show nothing new. */
  readonly isAsItIs: (row: KnownFile, stat: BigIntStats) => boolean
  /** A name, its bytes as latin1 text, whose row is missing or not as the file is. */
  readonly onChanged: (name: string) => void
  /** A row whose file is gone. */
  readonly onGone: (id: string) => void
}

/** So many are compared in one go, some milliseconds, before others get their turn. */
const SLICE = 200
/** How the markers of archives end. */
const MARKER = pinMarkerOf('.tar')

interface Found {
  /** Its bytes as latin1 text. */
  readonly name: string
  isPinned: boolean
}

/**
 * Compares the directory with the index, in slices. Files come and go meanwhile: whatever seems gone is looked for once
 * more, and what came after its place was read is told of by its own event.
 */
export async function scanDirectory(scan: DirectoryScan): Promise<void> {
  const found = await readArchives(scan.directory)
  let last: string | undefined
  do {
    const rows = scan.store.listKnown({ after: last, limit: SLICE })
    last = rows.length < SLICE ? undefined : rows.at(-1)?.id
    for (const row of rows) {
      const file = found.get(row.id)
      found.delete(row.id)
      if (file === undefined) scan.onGone(row.id)
      else if (!isCurrent(row, file, scan)) scan.onChanged(file.name)
    }
    await nextTurn()
  } while (last !== undefined)
  let told = 0
  for (const { name } of found.values()) {
    scan.onChanged(name)
    told += 1
    if (told % SLICE === 0) await nextTurn()
  }
}

function isCurrent(row: KnownFile, { name, isPinned }: Found, { directory, isAsItIs }: DirectoryScan): boolean {
  if (row.isPinned !== isPinned) return false
  const stat = lstatSync(pathOf(directory, Buffer.from(name, 'latin1')), { bigint: true, throwIfNoEntry: false })
  return stat?.isFile() === true && generationOf(stat) === row.generation && isAsItIs(row, stat)
}

/** By id. Names, not files: nothing is opened. */
async function readArchives(directory: string): Promise<Map<string, Found>> {
  const found = new Map<string, Found>()
  const pinned: string[] = []
  for await (const name of readNames(directory)) {
    const rawName = Buffer.from(name, 'latin1')
    if (isArchiveName(rawName)) found.set(checkpointId(rawName), { name, isPinned: false })
    else if (name.endsWith(MARKER)) pinned.push(checkpointId(rawName.subarray(0, -PIN_SUFFIX.length)))
  }
  for (const id of pinned) {
    const file = found.get(id)
    if (file !== undefined) file.isPinned = true
  }
  return found
}

/** Each byte as one character: tens of thousands of buffers would leave holes in the memory behind. */
async function* readNames(directory: string): AsyncGenerator<string> {
  try {
    for await (const { name } of await opendir(directory, { encoding: 'latin1', bufferSize: SLICE })) yield name
  } catch (error) {
    if (!isSystemError(error, 'ENOENT')) throw error
  }
}
