import Sqlite from 'better-sqlite3'
import { GonePodStore } from './gone-pod-store.ts'
import { RetentionTable, type RetentionColumns, type RetentionMoment, type RetentionRow } from './retention-table.ts'

export type { RetentionMoment, RetentionRow } from './retention-table.ts'

/** Reads all rows of an index that somebody else has open and writes to, as they are at one moment. */
export function readRetentionRows(file: string, moment: RetentionMoment): RetentionRow[] {
  using database = openReader(file)
  return database.handle.transaction(() => readAll(database.handle, moment))()
}

function readAll(database: Sqlite.Database, moment: RetentionMoment): RetentionRow[] {
  // A join would look each row up once more.
  const gone = new GonePodStore(database).readAll()
  const count = database.prepare<[], number>('SELECT count(*) FROM checkpoints').pluck().get() ?? 0
  const table = new RetentionTable(count, moment)
  const rows = database
    .prepare<[], RetentionColumns>(
      `SELECT (id >> 32) & 0xffffffff, id & 0xffffffff, generation || '/' || file_name, state, engine, pinned,
         json_array(namespace, pod, container, identity_source, instr(details, '"isBelieved":true') > 0),
         size_bytes, taken_at, ${gone.size === 0 ? 'NULL' : 'pod_uid'}
       FROM checkpoints`,
    )
    .raw()
  for (const columns of rows.iterate()) table.add(columns, gone)
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
