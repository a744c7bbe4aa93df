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
  /** Returns whether a refresh of this file, whose generation matches its row, would show nothing new. */
  readonly isAsItIs: (row: KnownFile, stat: BigIntStats) => boolean
  /** Called with a name as latin1 text if the row is missing or differs from the file. */
  readonly onChanged: (name: string) => void
  /** Called for a row whose file is gone. */
  readonly onGone: (id: string) => void
}

/** Rows that are compared at a time, which takes a few milliseconds. */
const SLICE = 200
/** Suffix of the markers of archives. */
const MARKER = pinMarkerOf('.tar')

interface Found {
  /** Name as latin1 text. */
  readonly name: string
  isPinned: boolean
}

/**
 * Compares the directory with the index in slices. Files may change meanwhile, so each missing file is checked once
 * more, and a file that appears later is reported by its own event.
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

/** Reads the names of archives, by ID. Opens no file. */
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

/** Yields names with one character for each byte. Tens of thousands of buffers would fragment the memory. */
async function* readNames(directory: string): AsyncGenerator<string> {
  try {
    for await (const { name } of await opendir(directory, { encoding: 'latin1', bufferSize: SLICE })) yield name
  } catch (error) {
    if (!isSystemError(error, 'ENOENT')) throw error
  }
}
