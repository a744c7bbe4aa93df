import Sqlite from 'better-sqlite3'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import type { Checkpoint } from '../../src/checkpoint/checkpoint.ts'
import { CheckpointStore } from '../../src/store/checkpoint-store.ts'
import { GonePodStore } from '../../src/store/gone-pod-store.ts'
import { JobStore } from '../../src/store/job-store.ts'
import { migrate } from '../../src/store/migrations.ts'
import { withRetentionRows } from '../../src/store/retention-rows.ts'
import { sampleCheckpoint } from '../support/sample-checkpoints.ts'

const PLAIN = sampleCheckpoint(1)
const CLAIMED = sampleCheckpoint(2, { identity: { namespace: 'shop', pod: 'web', source: 'name', isTrusted: false } })
const STRANGER = sampleCheckpoint(3, {
  identity: { source: 'unknown', isTrusted: false },
  engine: 'unknown',
  generation: '7:0:-1500000',
})
const CHECKPOINTS = [PLAIN, CLAIMED, STRANGER]

it('an index with codes of names becomes one with their numbers, and nothing in it is lost', () => {
  const folder = mkdtempSync(join(tmpdir(), 'migrations-'))
  try {
    const file = join(folder, 'index.db')
    const database = new Sqlite(file)
    migrate(database, 3)
    for (const checkpoint of CHECKPOINTS) insertWithCodes(database, checkpoint)
    const gone = database.prepare('INSERT INTO gone_pods VALUES (?, ?)')
    gone.run(PLAIN.identity.podUid, 90_000)
    gone.run('of no archive', 1)
    migrate(database)

    const store = new CheckpointStore(database)
    for (const checkpoint of CHECKPOINTS) expect(store.get(checkpoint.id)).toStrictEqual(checkpoint)
    const order = { key: 'takenAt', isDescending: false } as const
    const { pod = '', podUid = '', container = '' } = PLAIN.identity
    for (const filter of [{ pod }, { podUid }, { container }, { belongsTo: ['shop'] }, { belongsTo: 'any' }] as const) {
      expect(store.list({ filter, order, limit: 10 }).items).toEqual([PLAIN])
    }
    expect(store.list({ filter: { namespace: 'shop' }, order, limit: 10 }).items).toEqual([PLAIN, CLAIMED])
    expect([...new GonePodStore(database).readAll().values()]).toEqual([90_000])
    const modified = withRetentionRows(file, { nowMillis: 0, inUse: new Set() }, (rows) =>
      rows.map(({ id, modifiedAtMillis }) => [id, modifiedAtMillis]),
    )
    expect(new Map(modified as [string, number][])).toEqual(
      new Map([
        [PLAIN.id, PLAIN.takenAt.millis],
        [CLAIMED.id, CLAIMED.takenAt.millis],
        [STRANGER.id, -1],
      ]),
    )
    database.close()
  } finally {
    rmSync(folder, { recursive: true })
  }
})

it('jobs from before they had a namespace are of that of their pod', () => {
  const database = new Sqlite(':memory:')
  migrate(database, 4)
  for (const [id, namespace] of [
    ['1', 'shop'],
    ['2', 'bank'],
  ]) {
    database.prepare("INSERT INTO jobs VALUES (?, 'ada', 0, NULL, 0, 0)").run(id)
    database
      .prepare(
        `INSERT INTO captures (job_id, ordinal, namespace, pod, pod_uid, container, container_id, state, bytes_written, phases)
         VALUES (?, 0, ?, 'web', 'uid', 'counter', 'c1', 'failed', 0, '[]')`,
      )
      .run(id, namespace)
  }
  migrate(database)
  const store = new JobStore(database)
  expect(store.namespaces().toSorted()).toEqual(['bank', 'shop'])
  expect(store.list({ limit: 10, namespaces: ['shop'] }).jobs.map(({ id }) => id)).toEqual(['1'])
  expect(store.list({ limit: 10 }).jobs.map(({ id }) => id)).toEqual(['2', '1'])
})

/** As the agent wrote it before names had numbers. */
function insertWithCodes(database: Sqlite.Database, checkpoint: Checkpoint): void {
  const { identity, summary, problems, takenAt } = checkpoint
  const { isTrusted: isBelieved, containerId } = identity
  const row = {
    id: BigInt.asIntN(64, BigInt(`0x${checkpoint.id}`)),
    state: 2,
    engine: checkpoint.engine === 'unknown' ? 3 : 0,
    identity_source: ['observed', 'archive', 'name', 'unknown'].indexOf(identity.source),
    pinned: 0,
    size_bytes: checkpoint.sizeBytes,
    taken_at: takenAt.millis,
    discovered_at: checkpoint.discoveredAt.getTime(),
    generation: checkpoint.generation,
    namespace_code: identity.namespace === undefined ? null : 17_000_000_000_001,
    pod_code: identity.pod === undefined ? null : 17_000_000_000_002,
    pod_uid_code: identity.podUid === undefined ? null : 17_000_000_000_003,
    container_code: identity.container === undefined ? null : 17_000_000_000_004,
    namespace: identity.namespace ?? null,
    pod: identity.pod ?? null,
    pod_uid: identity.podUid ?? null,
    container: identity.container ?? null,
    raw_name: checkpoint.rawName,
    file_name: checkpoint.fileName,
    sha256: checkpoint.sha256 ?? null,
    details: JSON.stringify({ isBelieved, problems, containerId, takenAt: takenAt.text, summary }),
  }
  const columns = Object.keys(row)
  const values = columns.map((column) => `:${column}`)
  database.prepare(`INSERT INTO checkpoints (${columns.join(', ')}) VALUES (${values.join(', ')})`).run(row)
}
