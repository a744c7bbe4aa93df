import Sqlite from 'better-sqlite3'
import { engineOf, sourceOf, stateOf } from './checkpoint-row.ts'
import { GonePodStore } from './gone-pod-store.ts'

/** Of one archive, what retention goes by. */
export interface RetentionRow {
  readonly id: string
  readonly fileName: string
  readonly generation: string
  readonly state: ReturnType<typeof stateOf>
  readonly namespace: string | null
  readonly pod: string | null
  readonly podUid: string | null
  readonly container: string | null
  readonly source: ReturnType<typeof sourceOf>
  readonly isBelieved: boolean
  readonly engine: ReturnType<typeof engineOf>
  readonly sizeBytes: number
  readonly takenAtMillis: number
  readonly isPinned: boolean
  /** How long its pod has been gone. */
  readonly goneMillis: number | undefined
}

type Columns = [
  id: string,
  fileName: string,
  generation: string,
  state: number,
  namespace: string | null,
  pod: string | null,
  podUid: string | null,
  container: string | null,
  source: number,
  isDoubted: number,
  engine: number,
  sizeBytes: number,
  takenAt: number,
  pinned: number,
]

/** Reads all rows of an index that somebody else has open and writes to, as they are at one moment. */
export function readRetentionRows(file: string): RetentionRow[] {
  using database = openReader(file)
  // A join would look each row up once more.
  const gone = new GonePodStore(database.handle).readAll()
  const rows = database.handle
    .prepare<[], Columns>(
      `SELECT printf('%016x', id), file_name, generation, state, namespace, pod, pod_uid, container,
         identity_source, instr(details, '"isBelieved":false') > 0, engine, size_bytes, taken_at, pinned
       FROM checkpoints`,
    )
    .raw()
    .all()
  return rows.map((row) => ({
    id: row[0],
    fileName: row[1],
    generation: row[2],
    state: stateOf(row[3]),
    namespace: row[4],
    pod: row[5],
    podUid: row[6],
    container: row[7],
    source: sourceOf(row[8]),
    isBelieved: row[9] === 0,
    engine: engineOf(row[10]),
    sizeBytes: row[11],
    takenAtMillis: row[12],
    isPinned: row[13] === 1,
    goneMillis: row[6] === null ? undefined : gone.get(row[6]),
  }))
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
