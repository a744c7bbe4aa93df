import type Sqlite from 'better-sqlite3'
import type {
  Checkpoint,
  CheckpointIdentity,
  CheckpointPin,
  CheckpointState,
  CheckpointSummary,
} from '../checkpoint/checkpoint.ts'
import type { IdentitySource } from '../checkpoint/identity.ts'
import type { Problem } from '../checkpoint/problem.ts'
import { NotFoundError } from '../shared/errors.ts'
import { SORT_COLUMNS, toSql, type CheckpointCursor, type CheckpointQuery } from './checkpoint-query.ts'

interface CheckpointRow {
  id: string
  raw_name: Uint8Array
  file_name: string
  generation: string
  state: string
  namespace: string | null
  pod: string | null
  pod_uid: string | null
  container: string | null
  identity_source: string
  engine: string
  size_bytes: number
  taken_at: number
  discovered_at: number
  pinned: number
  sha256: string | null
  details: string
}

/** What no list filters by, kept as one text. */
interface Details {
  readonly problems: readonly Problem[]
  readonly containerId?: string
  readonly isBelieved: boolean
  readonly takenAt: string
  readonly pin?: CheckpointPin
  readonly summary: CheckpointSummary
}

export interface CheckpointPage {
  readonly items: readonly Checkpoint[]
  /** How many come after these. */
  readonly remaining: number
  /** Undefined on the last page. */
  readonly next: CheckpointCursor | undefined
}

/** What a rescan compares with the directory. */
export interface KnownFile {
  readonly generation: string
  readonly state: CheckpointState
  readonly isPinned: boolean
}

/** The index of the archives on this node. The files stay the truth: every row can be made again from its file. */
export class CheckpointStore {
  readonly #database: Sqlite.Database
  readonly #upsert: Sqlite.Statement<[CheckpointRow]>
  readonly #setHash: Sqlite.Statement<[{ id: string; generation: string; sha256: string }]>
  readonly #setState: Sqlite.Statement<[{ id: string; generation: string; state: string }]>
  readonly #delete: Sqlite.Statement<[string]>
  readonly #byId: Sqlite.Statement<[string], CheckpointRow>
  readonly #known: Sqlite.Statement<[], { id: string; generation: string; state: string; pinned: number }>
  readonly #inState: Sqlite.Statement<[string], CheckpointRow>
  readonly #counts: Sqlite.Statement<[], { state: string; rows: number }>
  readonly #bytes: Sqlite.Statement<[], { bytes: number | null }>

  constructor(database: Sqlite.Database) {
    this.#database = database
    const columns = Object.keys(COLUMNS)
    this.#upsert = database.prepare(`
      INSERT INTO checkpoints (${columns.join(', ')}) VALUES (${columns.map((column) => `:${column}`).join(', ')})
      ON CONFLICT (id) DO UPDATE SET ${columns
        .filter((column) => column !== 'id')
        .map((column) => `${column} = excluded.${column}`)
        .join(', ')}`)
    this.#setHash = database.prepare(`
      UPDATE checkpoints SET sha256 = :sha256, state = 'ready' WHERE id = :id AND generation = :generation AND state = 'hashing'`)
    this.#setState = database.prepare(
      'UPDATE checkpoints SET state = :state WHERE id = :id AND generation = :generation',
    )
    this.#delete = database.prepare('DELETE FROM checkpoints WHERE id = ?')
    this.#byId = database.prepare('SELECT * FROM checkpoints WHERE id = ?')
    this.#known = database.prepare('SELECT id, generation, state, pinned FROM checkpoints')
    this.#inState = database.prepare(
      'SELECT * FROM checkpoints INDEXED BY checkpoints_state WHERE state = ? ORDER BY taken_at, id',
    )
    this.#counts = database.prepare(
      'SELECT state, count(*) AS rows FROM checkpoints INDEXED BY checkpoints_state GROUP BY state',
    )
    this.#bytes = database.prepare(
      'SELECT sum(size_bytes) AS bytes FROM checkpoints INDEXED BY checkpoints_by_size_bytes',
    )
  }

  /** All or none; what is there already is replaced. */
  saveAll(checkpoints: readonly Checkpoint[]): void {
    this.#database.transaction(() => {
      for (const checkpoint of checkpoints) this.#upsert.run(toRow(checkpoint))
    })()
  }

  /** False when the file is another one by now, or is not being hashed any more. */
  setHash(id: string, generation: string, sha256: string): boolean {
    return this.#setHash.run({ id, generation, sha256 }).changes === 1
  }

  setState(id: string, generation: string, state: CheckpointState): boolean {
    return this.#setState.run({ id, generation, state }).changes === 1
  }

  /** Forgetting what is not known is no error, so a retry is safe. */
  removeAll(ids: readonly string[]): void {
    this.#database.transaction(() => {
      for (const id of ids) this.#delete.run(id)
    })()
  }

  /** Throws NotFoundError. */
  get(id: string): Checkpoint {
    const checkpoint = this.find(id)
    if (checkpoint !== undefined) return checkpoint
    throw new NotFoundError(`Cannot find checkpoint "${id}"`, {
      code: 'CheckpointNotFound',
      hint: 'See what is there with GET /v1/checkpoints; an archive that was removed is forgotten.',
    })
  }

  find(id: string): Checkpoint | undefined {
    const row = this.#byId.get(id)
    return row === undefined ? undefined : fromRow(row)
  }

  list(query: CheckpointQuery): CheckpointPage {
    const { page, count, parameters } = toSql(query)
    return this.#database.transaction(() => {
      const rows = this.#database.prepare<[object], CheckpointRow>(page).all(parameters)
      const all = this.#database.prepare<[object], { rows: number }>(count).get(parameters)?.rows ?? 0
      const remaining = Math.max(0, all - rows.length)
      const last = rows.at(-1)
      const next = remaining === 0 || last === undefined ? undefined : cursorOf(last, query)
      return { items: rows.map(fromRow), remaining, next }
    })()
  }

  listKnown(): Map<string, KnownFile> {
    return new Map(
      this.#known
        .all()
        .map(({ id, generation, state, pinned }) => [
          id,
          { generation, state: state as CheckpointState, isPinned: pinned === 1 },
        ]),
    )
  }

  listInState(state: CheckpointState): Checkpoint[] {
    return this.#inState.all(state).map(fromRow)
  }

  countByState(): Record<string, number> {
    return Object.fromEntries(this.#counts.all().map(({ state, rows }) => [state, rows]))
  }

  totalBytes(): number {
    return this.#bytes.get()?.bytes ?? 0
  }
}

/** Every column, so that a row that lacks one does not compile. */
const COLUMNS: Readonly<Record<keyof CheckpointRow, true>> = {
  id: true,
  raw_name: true,
  file_name: true,
  generation: true,
  state: true,
  namespace: true,
  pod: true,
  pod_uid: true,
  container: true,
  identity_source: true,
  engine: true,
  size_bytes: true,
  taken_at: true,
  discovered_at: true,
  pinned: true,
  sha256: true,
  details: true,
}

function cursorOf(row: CheckpointRow, { order }: CheckpointQuery): CheckpointCursor {
  const value = row[SORT_COLUMNS[order.key] as keyof CheckpointRow]
  return { value: value as string | number, id: row.id }
}

function toRow(checkpoint: Checkpoint): CheckpointRow {
  const { id, rawName, fileName, generation, state, problems, identity, engine, sizeBytes, takenAt, pin, summary } =
    checkpoint
  const details: Details = {
    problems,
    ...(identity.containerId !== undefined && { containerId: identity.containerId }),
    isBelieved: identity.isBelieved,
    takenAt: takenAt.text,
    ...(pin !== undefined && { pin }),
    summary,
  }
  return {
    id,
    generation,
    state,
    engine,
    raw_name: rawName,
    file_name: fileName,
    namespace: identity.namespace ?? null,
    pod: identity.pod ?? null,
    pod_uid: identity.podUid ?? null,
    container: identity.container ?? null,
    identity_source: identity.source,
    size_bytes: sizeBytes,
    taken_at: takenAt.millis,
    discovered_at: checkpoint.discoveredAt.getTime(),
    pinned: Number(pin !== undefined),
    sha256: checkpoint.sha256 ?? null,
    details: JSON.stringify(details),
  }
}

function fromRow(row: CheckpointRow): Checkpoint {
  const { problems, containerId, isBelieved, takenAt, pin, summary } = JSON.parse(row.details) as Details
  const identity: CheckpointIdentity = {
    ...(row.namespace !== null && { namespace: row.namespace }),
    ...(row.pod !== null && { pod: row.pod }),
    ...(row.pod_uid !== null && { podUid: row.pod_uid }),
    ...(row.container !== null && { container: row.container }),
    ...(containerId !== undefined && { containerId }),
    source: row.identity_source as IdentitySource,
    isBelieved,
  }
  return {
    id: row.id,
    rawName: row.raw_name,
    fileName: row.file_name,
    generation: row.generation,
    state: row.state as CheckpointState,
    problems,
    identity,
    engine: row.engine,
    sizeBytes: row.size_bytes,
    takenAt: { text: takenAt, millis: row.taken_at },
    discoveredAt: new Date(row.discovered_at),
    ...(row.sha256 !== null && { sha256: row.sha256 }),
    ...(pin !== undefined && { pin }),
    summary,
  }
}
