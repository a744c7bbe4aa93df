import Sqlite from 'better-sqlite3'
import * as fc from 'fast-check'
import { beforeEach, describe, expect, it } from 'vitest'
import type { CaptureJob, CaptureState, ContainerCapture } from '../../src/checkpoint/capture-job.ts'
import { JobStore } from '../../src/store/job-store.ts'
import { migrate } from '../../src/store/migrations.ts'

const IDENTITY = { namespace: 'shop', pod: 'web-0', podUid: 'uid-1', container: 'counter', containerId: 'c1' }
const at = (seconds: number) => new Date(Date.UTC(2026, 10, 20, 21, 34, seconds, 123))

let database: Sqlite.Database
let store: JobStore

beforeEach(() => {
  database = new Sqlite(':memory:')
  migrate(database)
  store = new JobStore(database, { keptJobs: 5 })
})

function capture(changes: Partial<ContainerCapture> = {}): ContainerCapture {
  return { identity: IDENTITY, state: 'queued', bytesWritten: 0, phases: [], ...changes }
}

function job(id: string, changes: Partial<CaptureJob> = {}): CaptureJob {
  return {
    id,
    requestedBy: 'test',
    wholePod: false,
    pin: false,
    queuedAt: at(0),
    captures: [capture()],
    ...changes,
  }
}

const archive = (name: string, takenAt = at(1)) => ({
  checkpointId: `id of ${name}`,
  fileName: name,
  sizeBytes: 264_704,
  takenAt,
})

const SUCCEEDED = capture({
  state: 'succeeded',
  startedAt: at(1),
  finishedAt: at(3),
  bytesWritten: 264_704,
  phases: [
    { name: 'admission', startedAt: at(1), millis: 4 },
    { name: 'dump', startedAt: at(2), millis: 1200 },
  ],
  archive: archive('a.tar'),
})

describe('JobStore', () => {
  it.each<{ name: string; job: CaptureJob }>([
    { name: 'a queued capture', job: job('1') },
    { name: 'one that ended well', job: job('1', { captures: [SUCCEEDED] }) },
    {
      name: 'one that failed, with all that is known',
      job: job('1', {
        captures: [
          capture({
            state: 'failed',
            startedAt: at(1),
            finishedAt: at(2),
            failure: { code: 'DiskFull', detail: 'd', hint: 'h', runtimeMessage: 'r\n"\\x', kubeletText: 'k' },
          }),
        ],
      }),
    },
    {
      name: 'one that failed, with nothing known',
      job: job('1', { captures: [capture({ state: 'failed', failure: { code: 'X', detail: '' } })] }),
    },
    {
      name: 'a pod of three, pinned, with a reason',
      job: job('1', {
        wholePod: true,
        pin: true,
        reason: "'); DROP TABLE jobs; --\n\u{1f642}",
        captures: ['a', 'b', 'c'].map((container) => capture({ identity: { ...IDENTITY, container } })),
      }),
    },
    { name: 'a reason that is empty', job: job('1', { reason: '' }) },
    { name: 'sizes beyond 32 bits', job: job('1', { captures: [capture({ bytesWritten: 2 ** 52 })] }) },
  ])('gives back $name as it was', ({ job: given }) => {
    store.insert(given)
    expect(store.find('1')).toEqual(given)
    expect(store.list({ limit: 10 })).toEqual({ jobs: [given], remaining: 0 })
  })

  it('knows nothing of a job that never was', () => {
    expect(store.find('1')).toBeUndefined()
    expect(store.list({ limit: 10 })).toEqual({ jobs: [], remaining: 0 })
  })

  it('shows each step of a capture', () => {
    store.insert(job('1'))
    const steps: readonly ContainerCapture[] = [
      capture({ state: 'running', startedAt: at(1) }),
      capture({ state: 'sealing', startedAt: at(1), bytesWritten: 10 }),
      SUCCEEDED,
    ]
    for (const step of steps) {
      store.save('1', 0, step)
      expect(store.find('1')?.captures).toEqual([step])
    }
  })

  it('inserts a job with all of its captures or not at all', () => {
    store.insert(job('1'))
    const twice = job('1', { captures: [capture(), capture()] })
    expect(() => store.insert(twice)).toThrow(/UNIQUE/)
    expect(store.find('1')?.captures).toHaveLength(1)
  })

  it('throws when the disk is full, and has nothing of the job', () => {
    const pages = Number(database.pragma('page_count', { simple: true }))
    database.pragma(`max_page_count = ${pages}`)
    expect(() => store.insert(job('1', { reason: 'x'.repeat(100_000) }))).toThrow(/full/)
    expect(store.find('1')).toBeUndefined()
  })
})

describe('JobStore.list', () => {
  it('gives the newest first, and how many are left', () => {
    for (const id of ['3', '1', '2']) store.insert(job(id))
    const page = store.list({ limit: 2 })
    expect(page.jobs.map(({ id }) => id)).toEqual(['3', '2'])
    expect(page.remaining).toBe(1)
    const next = store.list({ limit: 2, before: '2' })
    expect(next.jobs.map(({ id }) => id)).toEqual(['1'])
    expect(next.remaining).toBe(0)
  })

  it('repeats nothing and skips nothing while jobs come and go between the pages', () => {
    const ids = fc.uniqueArray(fc.nat(500), { minLength: 1, maxLength: 25 })
    const pages = fc.array(fc.record({ limit: fc.integer({ min: 1, max: 5 }), newcomer: fc.nat(999) }), {
      minLength: 30,
      maxLength: 30,
    })
    fc.assert(
      fc.property(ids, pages, (numbers, plan) => {
        const own = new Sqlite(':memory:')
        migrate(own)
        const jobs = new JobStore(own)
        for (const number of numbers) jobs.insert(job(idOf(number)))
        const seen: string[] = []
        let before: string | undefined
        for (const { limit, newcomer } of plan) {
          const page = jobs.list({ limit, ...(before !== undefined && { before }) })
          seen.push(...page.jobs.map(({ id }) => id))
          if (page.remaining === 0) break
          expect(page.jobs).toHaveLength(limit)
          before = page.jobs.at(-1)?.id
          // Newer than all: it must not push anything over the edge of a page.
          if (jobs.find(idOf(1000 + newcomer)) === undefined) jobs.insert(job(idOf(1000 + newcomer)))
        }
        own.close()
        expect(seen).toEqual(numbers.toSorted((a, b) => b - a).map(idOf))
      }),
      { numRuns: 30 },
    )
  })
})

describe('JobStore.listUnfinished', () => {
  it.each<{ state: CaptureState; isUnfinished: boolean }>([
    { state: 'queued', isUnfinished: true },
    { state: 'running', isUnfinished: true },
    { state: 'sealing', isUnfinished: true },
    { state: 'succeeded', isUnfinished: false },
    { state: 'failed', isUnfinished: false },
    { state: 'cancelled', isUnfinished: false },
    { state: 'unknown-outcome', isUnfinished: false },
  ])('$state: $isUnfinished', ({ state, isUnfinished }) => {
    store.insert(job('1', { captures: [capture({ state })] }))
    expect(store.listUnfinished()).toHaveLength(isUnfinished ? 1 : 0)
  })

  it('has what the next start needs, bit by bit as it was found out', () => {
    store.insert(job('1', { pin: true, reason: 'because', requestedBy: 'ada' }))
    store.trace('1', 0, { stagingId: '1-0', wasPaused: false, dumpMayTakeMs: 5000 })
    store.save('1', 0, capture({ state: 'sealing', startedAt: at(1) }))
    store.trace('1', 0, { publishedName: 'a.tar', publishedInode: 2 ** 50 })
    store.trace('1', 0, { publishedName: 'b.tar', publishedInode: 2 ** 50 })
    expect(store.listUnfinished()).toEqual([
      {
        jobId: '1',
        ordinal: 0,
        pin: true,
        reason: 'because',
        requestedBy: 'ada',
        capture: capture({ state: 'sealing', startedAt: at(1) }),
        traces: {
          stagingId: '1-0',
          wasPaused: false,
          dumpMayTakeMs: 5000,
          publishedName: 'b.tar',
          publishedInode: 2 ** 50,
        },
      },
    ])
  })

  it('does not take a name that was only announced for an archive', () => {
    store.insert(job('1'))
    store.trace('1', 0, { publishedName: 'a.tar', publishedInode: 7 })
    expect(store.find('1')?.captures[0]?.archive).toBeUndefined()
  })
})

describe('JobStore forgets', () => {
  it('the oldest jobs beyond the limit, with their captures', () => {
    for (const id of ['1', '2', '3', '4', '5', '6', '7']) store.insert(job(id, { captures: [SUCCEEDED] }))
    expect(store.list({ limit: 10 }).jobs.map(({ id }) => id)).toEqual(['7', '6', '5', '4', '3'])
    expect(database.prepare('SELECT count(*) FROM captures').pluck().get()).toBe(5)
  })

  it('none that has not ended', () => {
    store.insert(job('1', { captures: [SUCCEEDED, capture({ state: 'running' })] }))
    for (const id of ['2', '3', '4', '5', '6', '7', '8']) store.insert(job(id, { captures: [SUCCEEDED] }))
    expect(store.list({ limit: 10 }).jobs.map(({ id }) => id)).toEqual(['8', '7', '6', '5', '4', '1'])
    store.save('1', 1, SUCCEEDED)
    store.insert(job('9', { captures: [SUCCEEDED] }))
    expect(store.find('1')).toBeUndefined()
  })
})

function dumped(millis: number): ContainerCapture {
  const startedAt = at(0)
  return capture({
    state: 'succeeded',
    phases: [
      { name: 'admission', startedAt, millis: 99_999 },
      { name: 'dump', startedAt, millis },
      { name: 'sync', startedAt, millis: 99_999 },
    ],
  })
}

describe('JobStore.longestDumpMs', () => {
  it('is 0 before the first dump, and then that of the longest', () => {
    expect(store.longestDumpMs()).toBe(0)
    for (const millis of [300, 1200, 700]) store.insert(job(String(millis), { captures: [dumped(millis)] }))
    expect(store.longestDumpMs()).toBe(1200)
  })
})

describe('JobStore.findLastCheckpoint', () => {
  it('is the newest archive of this container of this very pod', () => {
    expect(store.findLastCheckpoint(IDENTITY)).toBeUndefined()
    const taken = (id: string, seconds: number, changes: Partial<ContainerCapture> = {}) => {
      store.insert(job(id, { captures: [{ ...SUCCEEDED, archive: archive(id, at(seconds)), ...changes }] }))
    }
    taken('1', 10)
    taken('2', 30)
    taken('3', 20)
    taken('4', 40, { identity: { ...IDENTITY, podUid: 'uid-2' } })
    taken('5', 50, { state: 'failed' })
    expect(store.findLastCheckpoint(IDENTITY)).toEqual({ id: 'id of 2', takenAt: at(30) })
  })

  it('outlives a restart of the container: the pod is the same', () => {
    store.insert(job('1', { captures: [SUCCEEDED] }))
    expect(store.findLastCheckpoint({ ...IDENTITY, podUid: 'uid-1' })).toBeDefined()
  })
})

function idOf(number: number): string {
  return String(number).padStart(5, '0')
}
