import type Sqlite from 'better-sqlite3'
import { numberOfName } from './names.ts'

/**
 * How long the pods of archives have been gone, on a clock that goes only while somebody sees that they are: so nothing
 * is written about those that stay gone, however many they are. To lose it only keeps archives longer.
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

  /** These pods are there. Those that were gone and are not among them have been so for this much longer. */
  advance(there: ReadonlySet<string>, elapsedMs: number): void {
    this.#database.transaction(() => {
      for (const uid of there) this.#isBack.run(uid)
      this.#advance.run(Math.round(elapsedMs))
    })()
  }

  /** Of the next so many pods that archives are of, those that are not there are gone. Answers where to go on. */
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

  /** In milliseconds, by the number of the pod's UID. */
  readAll(): ReadonlyMap<number, number> {
    return new Map(this.#all.all().map(({ number, goneMs }) => [number, goneMs]))
  }
}
