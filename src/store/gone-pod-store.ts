import type Sqlite from 'better-sqlite3'
import { numberOfName } from './checkpoint-row.ts'

export interface GonePod {
  readonly podUid: string
  /** Among the names of this index; null: no archive is of it any more. */
  readonly number: number | null
  readonly goneMs: number
}

/** How long the pods of archives have been gone. It only ever counts what was seen, so losing it only keeps longer. */
export class GonePodStore {
  readonly #database: Sqlite.Database
  readonly #podUids: Sqlite.Statement<[], { pod_uid: string }>
  readonly #add: Sqlite.Statement<[{ uid: string; elapsed: number }]>
  readonly #keepOnly: Sqlite.Statement<[string]>
  readonly #all: Sqlite.Statement<[], GonePod>

  constructor(database: Sqlite.Database) {
    this.#database = database
    this.#podUids = database.prepare(`
      SELECT name AS pod_uid FROM (SELECT DISTINCT pod_uid_number AS number FROM checkpoints) JOIN names USING (number)`)
    this.#add = database.prepare(`
      INSERT INTO gone_pods (pod_uid, gone_ms) VALUES (:uid, 0)
      ON CONFLICT (pod_uid) DO UPDATE SET gone_ms = gone_ms + :elapsed`)
    this.#keepOnly = database.prepare(`
      DELETE FROM gone_pods WHERE pod_uid NOT IN (SELECT value FROM json_each(?))`)
    this.#all = database.prepare(`
      SELECT pod_uid AS podUid, ${numberOfName('pod_uid')} AS number, gone_ms AS goneMs FROM gone_pods`)
  }

  /** The pods that archives are of. */
  listPodUids(): string[] {
    return this.#podUids.all().map(({ pod_uid }) => pod_uid)
  }

  /** These pods are gone, and no other: they have been so for this much longer; the count of a new one begins. */
  count(gone: readonly string[], elapsedMs: number): void {
    this.#database.transaction(() => {
      this.#keepOnly.run(JSON.stringify(gone))
      for (const uid of gone) this.#add.run({ uid, elapsed: Math.round(elapsedMs) })
    })()
  }

  readAll(): GonePod[] {
    return this.#all.all()
  }
}
