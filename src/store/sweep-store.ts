import type Sqlite from 'better-sqlite3'

/** Reports kept; the custody log still records every removal. */
const KEPT = 500

/** Stores the reports of the last sweeps. Ids sort by start time. */
export class SweepStore<Report> {
  readonly #database: Sqlite.Database
  readonly #insert: Sqlite.Statement<[{ id: string; report: string }]>
  readonly #forget: Sqlite.Statement<[number]>
  readonly #page: Sqlite.Statement<[{ before: string; limit: number }], { report: string }>
  readonly #countBefore: Sqlite.Statement<[string], { rows: number }>

  constructor(database: Sqlite.Database) {
    this.#database = database
    this.#insert = database.prepare('INSERT OR REPLACE INTO sweeps (id, report) VALUES (:id, :report)')
    this.#forget = database.prepare(
      'DELETE FROM sweeps WHERE id <= (SELECT id FROM sweeps ORDER BY id DESC LIMIT 1 OFFSET ?)',
    )
    this.#page = database.prepare('SELECT report FROM sweeps WHERE id < :before ORDER BY id DESC LIMIT :limit')
    this.#countBefore = database.prepare('SELECT count(*) AS rows FROM sweeps WHERE id < ?')
  }

  add(id: string, report: Report): void {
    this.#database.transaction(() => {
      this.#insert.run({ id, report: JSON.stringify(report) })
      this.#forget.run(KEPT)
    })()
  }

  /** Lists reports, newest first. */
  list({ limit, before }: { readonly limit: number; readonly before?: string }): {
    readonly reports: readonly Report[]
    readonly remaining: number
  } {
    // Sorts after every id.
    const end = before ?? '~'
    const reports = this.#page.all({ before: end, limit }).map(({ report }) => JSON.parse(report) as Report)
    const all = this.#countBefore.get(end)?.rows ?? 0
    return { reports, remaining: Math.max(0, all - reports.length) }
  }
}
