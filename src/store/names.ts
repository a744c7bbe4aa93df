import type Sqlite from 'better-sqlite3'

/** The columns with a name in them that rows are found by; its number stands in a column of its own. */
export const NAME_COLUMNS = ['namespace', 'pod', 'pod_uid', 'container'] as const

export type NamesOfRow = Readonly<Record<(typeof NAME_COLUMNS)[number], string | null>>

/** In SQL. NULL where no row has the name. */
export function numberOfName(name: string): string {
  return `(SELECT number FROM names WHERE name = ${name})`
}

/** The names in the index, each once, with a number that is its alone (decision 14). */
export class Names {
  readonly #add: Sqlite.Statement<[NamesOfRow]>
  readonly #last: Sqlite.Statement<[], number | null>
  readonly #forget: Sqlite.Statement<[{ from: number; to: number }]>
  /** The highest number that was looked at. */
  #seen = 0

  constructor(database: Sqlite.Database) {
    // A name that is there already is passed over, and one that is not known too.
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

  /** Some of those that no row has any more, each time after the last ones: names are many, and cost little. */
  forgetUnused(count: number): void {
    const from = this.#seen >= (this.#last.get() ?? 0) ? 0 : this.#seen
    this.#seen = from + count
    this.#forget.run({ from, to: this.#seen })
  }
}
