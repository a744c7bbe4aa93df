import type Sqlite from 'better-sqlite3'

/** Columns with names that lists filter by; a second column contains the number of each name. */
export const NAME_COLUMNS = ['namespace', 'pod', 'pod_uid', 'container'] as const

export type NamesOfRow = Readonly<Record<(typeof NAME_COLUMNS)[number], string | null>>

/** Returns the SQL expression for a name's number; NULL if the name is unknown. */
export function numberOfName(name: string): string {
  return `(SELECT number FROM names WHERE name = ${name})`
}

/** Stores every name of the index once, with a unique number. */
export class Names {
  readonly #add: Sqlite.Statement<[NamesOfRow]>
  readonly #last: Sqlite.Statement<[], number | null>
  readonly #forget: Sqlite.Statement<[{ from: number; to: number }]>
  /** Highest number checked so far. */
  #seen = 0

  constructor(database: Sqlite.Database) {
    // Ignores names that exist already, and NULL.
    this.#add = database.prepare(
      `INSERT OR IGNORE INTO names (name) VALUES ${NAME_COLUMNS.map((column) => `(:${column})`).join(', ')}`,
    )
    this.#last = database.prepare<[], number | null>('SELECT max(number) FROM names').pluck()
    const isUsed = NAME_COLUMNS.map(
      (column) => `EXISTS (SELECT 1 FROM checkpoints WHERE ${column}_number = names.number)`,
    )
    this.#forget = database.prepare(
      `DELETE FROM names WHERE number > :from AND number <= :to AND NOT (${isUsed.join(' OR ')})`,
    )
  }

  addAll(row: NamesOfRow): void {
    this.#add.run(row)
  }

  /**
   * Removes unused names among the next `count` numbers. Names are many and take little space, so
   * there is no hurry.
   */
  forgetUnused(count: number): void {
    const from = this.#seen >= (this.#last.get() ?? 0) ? 0 : this.#seen
    this.#seen = from + count
    this.#forget.run({ from, to: this.#seen })
  }
}
