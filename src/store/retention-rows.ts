import Sqlite from 'better-sqlite3'
import { GonePodStore } from './gone-pod-store.ts'
import { RetentionTable, type RetentionColumns, type RetentionMoment, type RetentionRow } from './retention-table.ts'

export type { RetentionMoment, RetentionRow } from './retention-table.ts'

/**
 * Reads all rows of an index that another process may be writing, as of one moment. Texts are
 * loaded on demand and cached, and only while `use` runs.
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
    // A join would look up every row again.
    goneMillis: new GonePodStore(database).readAll(),
    nameOf: (number) => name.get(number),
    textsOf: (rowId) => texts.get(rowId),
  })
  // One index contains all these columns, newest first. The rows themselves are ten times as much
  // data.
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
