import { lstatSync } from 'node:fs'
import { opendir } from 'node:fs/promises'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { checkpointId } from '../checkpoint/checkpoint-id.ts'
import { isSystemError } from '../shared/errors.ts'
import type { CheckpointStore, KnownFile } from '../store/checkpoint-store.ts'
import { isArchiveName, pathOf } from './archive-file.ts'
import { generationOf } from './file-generation.ts'

export interface DirectoryScan {
  readonly directory: string
  readonly store: Pick<CheckpointStore, 'listKnown'>
  /** Nothing more is expected of what is in this state until the file changes. */
  readonly isSettled: (row: KnownFile) => boolean
}

export interface DirectoryChanges {
  /** Names, their bytes as latin1 text, whose rows are missing or not as the files are. */
  readonly changed: readonly string[]
  /** Rows whose files are gone. */
  readonly gone: readonly string[]
}

/** So many are compared in one go, some milliseconds, before others get their turn. */
const SLICE = 500

interface Found {
  /** Its bytes as latin1 text. */
  readonly name: string
  isPinned: boolean
}

/**
 * Compares the directory with the index, in slices. Files come and go meanwhile: whatever seems gone is looked for once
 * more, and what came after its place was read is told of by its own event.
 */
export async function scanDirectory({ directory, store, isSettled }: DirectoryScan): Promise<DirectoryChanges> {
  const found = await readArchives(directory)
  const changed: string[] = []
  const gone: string[] = []
  let last: string | undefined
  do {
    const rows = store.listKnown({ after: last, limit: SLICE })
    last = rows.length < SLICE ? undefined : rows.at(-1)?.id
    for (const row of rows) {
      const file = found.get(row.id)
      found.delete(row.id)
      if (file === undefined) gone.push(row.id)
      else if (row.isPinned !== file.isPinned || !isSettled(row) || !isSameFile(directory, file, row)) {
        changed.push(file.name)
      }
    }
    await nextTurn()
  } while (last !== undefined)
  for (const { name } of found.values()) changed.push(name)
  return { changed, gone }
}

/** By id. Names, not files: nothing is opened. */
async function readArchives(directory: string): Promise<Map<string, Found>> {
  const found = new Map<string, Found>()
  const pinned: string[] = []
  for await (const name of readNames(directory)) {
    const rawName = Buffer.from(name, 'latin1')
    if (isArchiveName(rawName)) found.set(checkpointId(rawName), { name, isPinned: false })
    else if (name.endsWith(MARKER)) pinned.push(checkpointId(rawName.subarray(0, -KEEP.length)))
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

function isSameFile(directory: string, { name }: Found, { generation }: KnownFile): boolean {
  const stat = lstatSync(pathOf(directory, Buffer.from(name, 'latin1')), { bigint: true, throwIfNoEntry: false })
  return stat !== undefined && stat.isFile() && generationOf(stat) === generation
}

const KEEP = '.keep'
const MARKER = `.tar${KEEP}`
