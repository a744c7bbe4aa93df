import type { CheckpointCursor } from './checkpoint-query.ts'
import type Sqlite from 'better-sqlite3'
import type { Checkpoint, CheckpointState } from '../checkpoint/checkpoint.ts'
import { NotFoundError } from '../shared/errors.ts'
import {
  chooseIndex,
  countBeforeSql,
  countBehindSql,
  countSql,
  countUpToSql,
  indexOfOrder,
  NEAR_ROWS,
  pageSql,
  SORT_COLUMNS,
  toConditions,
  type CheckpointPage,
  type CheckpointQuery,
  type Parameters,
} from './checkpoint-query.ts'
import {
  fromRow,
  idNumber,
  READ_COLUMNS,
  stateCode,
  stateOf,
  toRow,
  WRITTEN_VALUES,
  type CheckpointRow,
  type StoredCheckpoint,
} from './checkpoint-row.ts'
import { Names } from './names.ts'

/**
 * The file and owner of a checkpoint, as removal needs them, without the costly details of a row.
 */
export interface CheckpointFile extends Pick<
  Checkpoint,
  'id' | 'rawName' | 'fileName' | 'generation' | 'state' | 'sizeBytes' | 'sha256'
> {
  /** Namespace with a trusted claim to the archive. */
  readonly namespace: string | undefined
}

type StoredFile = Pick<
  StoredCheckpoint,
  'raw_name' | 'file_name' | 'generation' | 'state' | 'size_bytes' | 'sha256' | 'namespace' | 'is_believed'
>

/** A known file that a rescan compares with the directory. */
export interface KnownFile {
  readonly id: string
  readonly generation: string
  readonly state: CheckpointState
  readonly isPinned: boolean
  /**
   * True if the archive has a note or no trusted identity. Both may change with its permissions
   * while its content stays the same.
   */
  readonly isDoubtful: boolean
}

/** Bounds of ids, which are stored as signed 64-bit numbers. */
const LOWEST_ID = -(2n ** 63n)
const HIGHEST_ID = 2n ** 63n - 1n

/**
 * Index of the archives on this node. The files are authoritative: every row can be rebuilt from
 * its file.
 */
export class CheckpointStore {
  readonly #database: Sqlite.Database
  readonly #names: Names
  readonly #upsert: Sqlite.Statement<[CheckpointRow]>
  readonly #setHash: Sqlite.Statement<[{ id: bigint; generation: string; sha256: string; from: number; to: number }]>
  readonly #setState: Sqlite.Statement<[{ id: bigint; generation: string; state: number }]>
  readonly #delete: Sqlite.Statement<[bigint, string]>
  readonly #byId: Sqlite.Statement<[bigint], StoredCheckpoint>
  readonly #fileById: Sqlite.Statement<[bigint], StoredFile>
  readonly #standing: Sqlite.Statement<[bigint], { generation: string; state: number; pinned: number }>
  readonly #known: Sqlite.Statement<
    [{ from: bigint; limit: number }],
    { id: string; generation: string; state: number; pinned: number; doubtful: number }
  >
  readonly #namespaces: Sqlite.Statement<[], { namespace: string }>
  readonly #totals: Sqlite.Statement<[], { state: number; rows: number; bytes: number }>
  /**
   * Cached until the next write: at 100,000 rows, computing the totals takes longer than a list.
   */
  #knownTotals: readonly { readonly state: number; readonly rows: number; readonly bytes: number }[] | undefined

  constructor(database: Sqlite.Database) {
    this.#database = database
    const columns = [...WRITTEN_VALUES.keys()]
    const changes = columns.filter((column) => column !== 'id').map((column) => `${column} = excluded.${column}`)
    this.#names = new Names(database)
    this.#upsert = database.prepare(`
      INSERT INTO checkpoints (${columns.join(', ')}) VALUES (${[...WRITTEN_VALUES.values()].join(', ')})
      ON CONFLICT (id) DO UPDATE SET ${changes.join(', ')}`)
    this.#setHash = database.prepare(`
      UPDATE checkpoints SET sha256 = :sha256, state = :to WHERE id = :id AND generation = :generation AND state = :from`)
    this.#setState = database.prepare(
      'UPDATE checkpoints SET state = :state WHERE id = :id AND generation = :generation',
    )
    this.#delete = database.prepare('DELETE FROM checkpoints WHERE id = ? AND generation = ?')
    this.#byId = database.prepare(`SELECT ${READ_COLUMNS} FROM checkpoints WHERE checkpoints.id = ?`)
    this.#fileById = database.prepare(`
      SELECT raw_name, file_name, generation, state, size_bytes, sha256, namespace, is_believed
      FROM checkpoints WHERE id = ?`)
    this.#standing = database.prepare('SELECT generation, state, pinned FROM checkpoints WHERE id = ?')
    this.#known = database.prepare(`
      SELECT printf('%016x', id) AS id, generation, state, pinned,
        NOT is_believed OR instr(details, '"weight":"note"') > 0 AS doubtful FROM checkpoints
      WHERE checkpoints.id >= :from ORDER BY checkpoints.id LIMIT :limit`)
    this.#namespaces = database.prepare(`
      WITH RECURSIVE used(number) AS (
        SELECT min(namespace_number) FROM checkpoints
        UNION ALL
        SELECT (SELECT min(namespace_number) FROM checkpoints WHERE namespace_number > number)
        FROM used WHERE number IS NOT NULL
      )
      SELECT name AS namespace FROM used JOIN names USING (number)`)
    this.#totals = database.prepare(`
      SELECT state, count(*) AS rows, sum(size_bytes) AS bytes FROM checkpoints INDEXED BY checkpoints_state GROUP BY state`)
  }

  /** Saves all checkpoints or none, replacing existing rows. */
  saveAll(checkpoints: readonly Checkpoint[]): void {
    this.#knownTotals = undefined
    this.#database.transaction(() => {
      for (const checkpoint of checkpoints) {
        const row = toRow(checkpoint)
        this.#names.addAll(row)
        this.#upsert.run(row)
      }
    })()
  }

  /** Records the digest. Returns false if the file has changed or is no longer being hashed. */
  setHash(id: string, generation: string, sha256: string): boolean {
    const number = idNumber(id)
    if (number === undefined) return false
    this.#knownTotals = undefined
    const states = { from: stateCode('hashing'), to: stateCode('ready') }
    return this.#setHash.run({ id: number, generation, sha256, ...states }).changes === 1
  }

  setState(id: string, generation: string, state: CheckpointState): boolean {
    const number = idNumber(id)
    if (number === undefined) return false
    this.#knownTotals = undefined
    return this.#setState.run({ id: number, generation, state: stateCode(state) }).changes === 1
  }

  /**
   * Removes the rows of these files and returns the files that had one, so a retry is safe. Keeps
   * the row of a newer file with the same name.
   */
  removeAll<File extends Pick<Checkpoint, 'id' | 'generation'>>(files: readonly File[]): readonly File[] {
    this.#knownTotals = undefined
    return this.#database.transaction(() =>
      files.filter(({ id, generation }) => {
        const number = idNumber(id)
        return number !== undefined && this.#delete.run(number, generation).changes === 1
      }),
    )()
  }

  /** Returns a checkpoint. Throws NotFoundError. */
  get(id: string): Checkpoint {
    const checkpoint = this.find(id)
    if (checkpoint !== undefined) return checkpoint
    throw new NotFoundError(`Cannot find checkpoint "${id}"`, {
      code: 'CheckpointNotFound',
      hint: 'See what is there with GET /v1/checkpoints; an archive that was removed is forgotten.',
    })
  }

  find(id: string): Checkpoint | undefined {
    const number = idNumber(id)
    const row = number === undefined ? undefined : this.#byId.get(number)
    return row === undefined ? undefined : fromRow(row)
  }

  findFile(id: string): CheckpointFile | undefined {
    const number = idNumber(id)
    const row = number === undefined ? undefined : this.#fileById.get(number)
    if (row === undefined) return undefined
    const { namespace, sha256 } = row
    return {
      id,
      rawName: row.raw_name,
      fileName: row.file_name,
      generation: row.generation,
      state: stateOf(row.state),
      sizeBytes: row.size_bytes,
      ...(sha256 !== null && { sha256 }),
      namespace: namespace !== null && row.is_believed === 1 ? namespace : undefined,
    }
  }

  /**
   * Returns the fields that may change after a row was read. Reads no more, because it runs once
   * per file.
   */
  findStanding(
    id: string,
  ): { readonly generation: string; readonly state: CheckpointState; readonly isPinned: boolean } | undefined {
    const number = idNumber(id)
    const row = number === undefined ? undefined : this.#standing.get(number)
    return row && { generation: row.generation, state: stateOf(row.state), isPinned: row.pinned === 1 }
  }

  /**
   * Returns one page. A row that exists throughout, with an unchanged sort value, appears exactly
   * once, even if rows are added or removed between pages. Rows with equal sort values have a fixed
   * order.
   */
  list(query: CheckpointQuery): CheckpointPage {
    const { order, after, limit } = query
    return this.#database.transaction(() => {
      const { conditions, parameters } = toConditions(query)
      const index = chooseIndex(conditions, {
        order,
        countUpTo: (condition) => this.#count(countUpToSql(condition), parameters),
      })
      const page = pageSql(conditions, { index, order, isFirst: after === undefined })
      const rows = this.#database
        .prepare<[Parameters], StoredCheckpoint>(page)
        .all({ ...parameters, ...cursorParameters(after), limit })
      const last = rows.at(-1)
      const next = last === undefined || rows.length < limit ? undefined : cursorOf(last, query)
      const remaining = next === undefined ? 0 : this.#countBehind(query, { next, index, shown: rows.length })
      return { items: rows.map(fromRow), remaining, next: remaining === 0 ? undefined : next }
    })()
  }

  /** Lists all rows in pages, in the order of their ids. */
  listKnown({ after, limit }: { readonly after: string | undefined; readonly limit: number }): readonly KnownFile[] {
    const last = after === undefined ? undefined : idNumber(after)
    if (last === HIGHEST_ID) return []
    return this.#known
      .all({ from: last === undefined ? LOWEST_ID : last + 1n, limit })
      .map(({ id, generation, state, pinned, doubtful }) => ({
        id,
        generation,
        state: stateOf(state),
        isPinned: pinned === 1,
        isDoubtful: doubtful === 1,
      }))
  }

  /**
   * Lists the namespaces of all rows. Jumps from one to the next in the index, however many rows
   * each has.
   */
  namespaces(): string[] {
    return this.#namespaces.all().map(({ namespace }) => namespace)
  }

  /** Removes some unused names; call it periodically. */
  forgetUnusedNames(count: number): void {
    this.#names.forgetUnused(count)
  }

  countByState(): Record<string, number> {
    return Object.fromEntries(this.#readTotals().map(({ state, rows }) => [stateOf(state), rows]))
  }

  totalBytes(): number {
    return this.#readTotals().reduce((sum, { bytes }) => sum + bytes, 0)
  }

  #readTotals() {
    this.#knownTotals ??= this.#totals.all()
    return this.#knownTotals
  }

  /**
   * Counts the rows after a page in the cheapest way. With at most one condition, a short index
   * counts all rows, and most pages are near the beginning.
   */
  #countBehind(
    { filter, order, after, limit }: CheckpointQuery,
    { next, index, shown }: { readonly next: CheckpointCursor; readonly index: string; readonly shown: number },
  ): number {
    const all = toConditions({ filter, order, limit })
    const isSingle = all.conditions.length <= 1
    const countAll = () =>
      this.#count(countSql(all.conditions, isSingle ? all.conditions[0]?.index : index), all.parameters)
    if (after === undefined) return Math.max(0, countAll() - shown)
    const position = cursorParameters(next)
    if (isSingle && index === indexOfOrder(order)) {
      const before = this.#database
        .prepare<[Parameters], { rows: number; matching: number }>(countBeforeSql(all.conditions, order))
        .get({ ...all.parameters, ...position })
      if (before !== undefined && before.rows <= NEAR_ROWS) return Math.max(0, countAll() - before.matching)
    }
    const { conditions, parameters } = toConditions({ filter, order, limit, after: next })
    return this.#count(countBehindSql(conditions, { index, order }), { ...parameters, ...position })
  }

  #count(sql: string, parameters: Parameters): number {
    return this.#database.prepare<[Parameters], { rows: number }>(sql).get(parameters)?.rows ?? 0
  }
}

function cursorOf(row: StoredCheckpoint, { order }: CheckpointQuery): CheckpointCursor {
  return { value: row[SORT_COLUMNS[order.key]], id: row.id }
}

function cursorParameters(cursor: CheckpointCursor | undefined): Parameters {
  if (cursor === undefined) return {}
  // Only a forged token contains an invalid id, so any position will do.
  return { afterValue: cursor.value, afterId: idNumber(cursor.id) ?? 0n }
}
