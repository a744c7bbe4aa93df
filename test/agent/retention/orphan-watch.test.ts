import type Sqlite from 'better-sqlite3'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { OrphanWatch } from '../../../src/agent/retention/orphan-watch.ts'
import { systemClock } from '../../../src/shared/clock.ts'
import { silentLogger } from '../../../src/shared/logger.ts'
import { CheckpointStore } from '../../../src/store/checkpoint-store.ts'
import { openDatabase } from '../../../src/store/database.ts'
import { GonePodStore } from '../../../src/store/gone-pod-store.ts'
import { sampleCheckpoint } from '../../support/sample-checkpoints.ts'

const MINUTE = 60_000

let folder: string
let database: Sqlite.Database
let store: GonePodStore
let elapsed: number
let there: Set<string>
let isDown: boolean
let watch: OrphanWatch
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'orphans-'))
  database = openDatabase({ file: join(folder, 'index.db'), clock: systemClock, logger: silentLogger })
  const rows = ['pod-a', 'pod-b'].map((podUid, at) => {
    const sample = sampleCheckpoint(at)
    return { ...sample, identity: { ...sample.identity, podUid } }
  })
  new CheckpointStore(database).saveAll(rows)
  store = new GonePodStore(database)
  elapsed = 1_000_000
  there = new Set(['pod-a'])
  isDown = false
  watch = start()
})
afterEach(() => {
  database.close()
  rmSync(folder, { recursive: true })
})

function start(): OrphanWatch {
  return new OrphanWatch({
    store,
    listPodUids: async () => {
      if (isDown) throw new Error('connect ECONNREFUSED')
      return there
    },
    elapsed: () => elapsed,
    logger: silentLogger,
  })
}

function goneMillis(): Map<string, number> {
  const name = database.prepare<[number], string>('SELECT name FROM names WHERE number = ?').pluck()
  return new Map([...store.readAll()].map(([number, goneMs]) => [name.get(number) ?? '', goneMs]))
}

async function lookAfter(minutes: number): Promise<void> {
  elapsed += minutes * MINUTE
  await watch.look()
}

describe('a pod that the runtime does not know any more', () => {
  it('is gone for as long as it was seen to be', async () => {
    await lookAfter(0)
    expect(goneMillis()).toEqual(new Map([['pod-b', 0]]))
    await lookAfter(1)
    await lookAfter(1)
    expect(goneMillis()).toEqual(new Map([['pod-b', 2 * MINUTE]]))
  })

  it('is not gone any more when it is seen again, and then begins anew', async () => {
    await lookAfter(0)
    await lookAfter(1)
    there.add('pod-b')
    await lookAfter(1)
    expect(goneMillis()).toEqual(new Map())
    there.delete('pod-b')
    await lookAfter(1)
    expect(goneMillis()).toEqual(new Map([['pod-b', 0]]))
  })

  it('gets no older while the runtime does not answer', async () => {
    await lookAfter(0)
    await lookAfter(1)
    isDown = true
    for (let minute = 0; minute < 60; minute += 1) await lookAfter(1)
    isDown = false
    await lookAfter(1)
    expect(goneMillis()).toEqual(new Map([['pod-b', MINUTE]]))
    await lookAfter(1)
    expect(goneMillis()).toEqual(new Map([['pod-b', 2 * MINUTE]]))
  })

  it('gets no older while the agent is down, and keeps what was counted', async () => {
    await lookAfter(0)
    await lookAfter(1)
    watch = start()
    await lookAfter(600)
    expect(goneMillis()).toEqual(new Map([['pod-b', MINUTE]]))
  })

  it('gets hardly older while the machine sleeps', async () => {
    await lookAfter(0)
    await lookAfter(600)
    expect(goneMillis().get('pod-b')).toBeLessThanOrEqual(2 * MINUTE)
  })
})

describe('thousands of pods', () => {
  it('are all seen to be gone', async () => {
    const many = Array.from({ length: 2_500 }, (_, at) => sampleCheckpoint(at + 10))
    new CheckpointStore(database).saveAll(many)
    await lookAfter(0)
    await lookAfter(1)
    const gone = goneMillis()
    expect(gone.size).toBe(2_501)
    expect(new Set(gone.values())).toEqual(new Set([MINUTE]))
  })
})

describe('a pod of which no archive is left', () => {
  it('is forgotten with its name', async () => {
    await lookAfter(0)
    const checkpoints = new CheckpointStore(database)
    checkpoints.removeAll([sampleCheckpoint(1)])
    checkpoints.forgetUnusedNames(1_000)
    expect(goneMillis()).toEqual(new Map())
  })
})

describe('a runtime that does not answer from the beginning', () => {
  it('proves nothing', async () => {
    isDown = true
    await lookAfter(0)
    await lookAfter(600)
    expect(goneMillis()).toEqual(new Map())
  })
})
