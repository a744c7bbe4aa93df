import type Sqlite from 'better-sqlite3'
import { numberOfName } from './names.ts'

/**
 * Records how long the pods of archives have been gone. Its clock advances only while the runtime
 * confirms that they are, so pods that stay gone cause no writes, however many they are. Losing
 * this data only keeps archives longer.
 */
export class GonePodStore {
  readonly #database: Sqlite.Database
  readonly #advance: Sqlite.Statement<[number]>
  readonly #isBack: Sqlite.Statement<[string]>
  readonly #pods: Sqlite.Statement<[{ after: number; count: number }], { number: number; uid: string }>
  readonly #begin: Sqlite.Statement<[number]>
  readonly #all: Sqlite.Statement<[], { number: number; goneMs: number }>

  constructor(database: Sqlite.Database) {
    this.#database = database
    this.#advance = database.prepare('UPDATE gone_clock SET watched_ms = watched_ms + ?')
    this.#isBack = database.prepare(`DELETE FROM gone_pods WHERE number = ${numberOfName('?')}`)
    this.#pods = database.prepare(`
      SELECT number, name AS uid FROM
        (SELECT DISTINCT pod_uid_number AS number FROM checkpoints
         WHERE pod_uid_number > :after ORDER BY pod_uid_number LIMIT :count)
        JOIN names USING (number) ORDER BY number`)
    this.#begin = database.prepare(
      'INSERT OR IGNORE INTO gone_pods (number, since_ms) SELECT ?, watched_ms FROM gone_clock',
    )
    this.#all = database.prepare('SELECT number, watched_ms - since_ms AS goneMs FROM gone_pods, gone_clock')
  }

  /** Advances the clock, and removes the entries of pods that exist. */
  advance(there: ReadonlySet<string>, elapsedMs: number): void {
    this.#database.transaction(() => {
      for (const uid of there) this.#isBack.run(uid)
      this.#advance.run(Math.round(elapsedMs))
    })()
  }

  /**
   * Marks the missing pods among the next `count` pods that have archives. Returns where to
   * continue; undefined at the end.
   */
  addGone(
    there: ReadonlySet<string>,
    { after, count }: { readonly after: number; readonly count: number },
  ): number | undefined {
    return this.#database.transaction(() => {
      const pods = this.#pods.all({ after, count })
      for (const { number, uid } of pods) if (!there.has(uid)) this.#begin.run(number)
      return pods.length < count ? undefined : pods.at(-1)?.number
    })()
  }

  /** Returns milliseconds by the number of the pod's UID. */
  readAll(): ReadonlyMap<number, number> {
    return new Map(this.#all.all().map(({ number, goneMs }) => [number, goneMs]))
  }
}
