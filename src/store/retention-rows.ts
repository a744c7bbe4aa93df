import Sqlite from 'better-sqlite3'
import { GonePodStore } from './gone-pod-store.ts'
import { RetentionTable, type RetentionColumns, type RetentionMoment, type RetentionRow } from './retention-table.ts'

export type { RetentionMoment, RetentionRow } from './retention-table.ts'

/**
 * Reads all rows of an index that somebody else has open and writes to, as they are at one moment. Their texts are read
 * when they are asked for, which only `use` may do; those are kept.
 */
export function withRetentionRows<Result>(
  file: string,
  moment: RetentionMoment,
  use: (rows: readonly RetentionRow[]) => Result,
): Result {
  using database = openReader(file)
  return database.handle.transaction(() => use(readAll(database.handle, moment)))()
}

function readAll(database: Sqlite.Database, moment: RetentionMoment): readonly RetentionRow[] {
  const count = database.prepare<[], number>('SELECT count(*) FROM checkpoints').pluck().get() ?? 0
  const name = database.prepare<[number], string>('SELECT name FROM names WHERE number = ?').pluck()
  const texts = database.prepare<[number], { generation: string; fileName: string }>(
    'SELECT generation, file_name AS fileName FROM checkpoints WHERE rowid = ?',
  )
  const table = new RetentionTable(count, {
    moment,
    // A join would look each row up once more.
    goneMillis: new GonePodStore(database).readAll(),
    nameOf: (number) => name.get(number),
    textsOf: (rowId) => texts.get(rowId),
  })
  // One index holds all of this, newest first: the rows themselves are ten times as much to read.
  const rows = database
    .prepare<[], RetentionColumns>(
      `SELECT rowid, (id >> 32) & 0xffffffff, id & 0xffffffff, namespace_number, pod_number, container_number,
         pod_uid_number, (pinned << 24) | (engine << 16) | (state << 8) | (identity_source << 1) | is_believed,
         size_bytes, taken_at, modified_at
       FROM checkpoints INDEXED BY checkpoints_by_taken_at ORDER BY taken_at DESC`,
    )
    .raw()
  for (const columns of rows.iterate()) table.add(columns)
  return table.rows()
}

function openReader(file: string): Disposable & { readonly handle: Sqlite.Database } {
  const handle = new Sqlite(file, { readonly: true, fileMustExist: true, timeout: 5_000 })
  return {
    handle,
    [Symbol.dispose]: () => {
      handle.close()
    },
  }
}
