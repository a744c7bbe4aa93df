import Sqlite from 'better-sqlite3'
import { beforeAll, describe, expect, it, vi } from 'vitest'
import type { Checkpoint } from '../../src/checkpoint/checkpoint.ts'
import type { CheckpointCursor, CheckpointFilter, SortKey } from '../../src/store/checkpoint-query.ts'
import { FEW_ROWS } from '../../src/store/checkpoint-query.ts'
import { CheckpointStore } from '../../src/store/checkpoint-store.ts'
import { migrate } from '../../src/store/migrations.ts'
import { manyCheckpoints, sampleCheckpoint } from '../support/sample-checkpoints.ts'

const ROWS = 100_000
const SORT_KEYS: readonly SortKey[] = ['takenAt', 'discoveredAt', 'sizeBytes', 'fileName']

const takenAt = (index: number) => new Date(sampleCheckpoint(index).takenAt.millis)

/** Each filter by itself: values that nearly all rows have, some thousands, a few and none. */
const FILTERS: Readonly<Record<string, readonly CheckpointFilter[]>> = {
  none: [{}],
  namespace: ['shop', 'early', 'team-20', 'nobody'].map((namespace) => ({ namespace })),
  pod: ['web-0', 'web-deployment-7c9d8f5b6d-8rs', 'nobody'].map((pod) => ({ pod })),
  container: ['counter', 'middling', 'nobody'].map((container) => ({ container })),
  podUid: ['uid-of-web-0', 'nobody'].map((podUid) => ({ podUid })),
  engine: ['containerd', 'podman', 'cri-o', 'unknown'].map((engine) => ({ engine })),
  state: ['ready', 'damaged', 'incomplete', 'hashing'].map((state) => ({ state })),
  identitySource: ['archive', 'name', 'observed'].map((identitySource) => ({ identitySource })),
  pinned: [{ pinned: true }, { pinned: false }],
  reason: ['nightly', 'incident 7', 'nobody'].map((reason) => ({ reason })),
  takenAfter: [{ takenAfter: takenAt(0) }, { takenAfter: takenAt(ROWS - 20) }],
  takenBefore: [{ takenBefore: takenAt(ROWS) }, { takenBefore: takenAt(20) }],
  'takenAfter and takenBefore': [{ takenAfter: takenAt(40_000), takenBefore: takenAt(41_000) }],
  minBytes: [0, 500_000_000, 10_000_005_990, 2 ** 50].map((minBytes) => ({ minBytes })),
}

/** And those that are found by the ids of two indexes. */
const RANGES: ReadonlySet<string> = new Set(['takenAfter', 'takenBefore', 'minBytes', 'reason'])

let database: Sqlite.Database
let store: CheckpointStore
let all: readonly Checkpoint[]

beforeAll(() => {
  database = new Sqlite(':memory:')
  migrate(database)
  store = new CheckpointStore(database)
  all = [...manyCheckpoints(ROWS)]
  store.saveAll(all)
}, 120_000)

describe.each(Object.entries(FILTERS))(`at ${ROWS} rows, the filter %s`, (_name, filters) => {
  it.each(SORT_KEYS)('is answered from an index, sorted by %s', (key) => {
    for (const filter of filters) {
      for (const isDescending of [true, false]) {
        const order = { key, isDescending }
        let after: CheckpointCursor | undefined
        let rows = 0
        for (let page = 1; page <= 3; page += 1) {
          const asked = statementsOf(() => {
            const answer = store.list({ filter, order, limit: 100, ...(after !== undefined && { after }) })
            if (page === 1) rows = answer.items.length + answer.remaining
            after = answer.next
          })
          expect(asked.length).toBeGreaterThan(0)
          expect(asked.filter((one) => isWrong(one, { filter, key, rows }))).toEqual([])
          if (after === undefined) break
        }
      }
    }
  })
})

it.each<CheckpointFilter>([
  { namespace: 'shop', state: 'incomplete' },
  { namespace: 'early', pod: 'web-0', container: 'middling' },
  { engine: 'podman', pinned: true, minBytes: 900 },
  { podUid: 'nobody', state: 'ready' },
])('combined filters are answered from an index: %j', (filter) => {
  for (const key of SORT_KEYS) {
    const asked = statementsOf(() => store.list({ filter, order: { key, isDescending: true }, limit: 100 }))
    expect(asked.filter(({ plan }) => plan.some(readsTable))).toEqual([])
  }
})

it.each(SORT_KEYS)('far from the beginning, it still knows how many rows follow, sorted by %s', (key) => {
  const ready = all.filter(({ state }) => state === 'ready')
  const positions = ready
    .map((checkpoint) => ({ value: valueOf(checkpoint, key), id: checkpoint.id }))
    .toSorted((a, b) => (a.value < b.value ? -1 : 1))
  const at = 60_000
  const { [at]: after } = positions
  // Sizes come more than once; all that counts here is a place that is one row's alone.
  expect(positions.filter(({ value }) => value === after?.value)).toHaveLength(1)
  for (const isDescending of [true, false]) {
    const { items, remaining } = store.list({
      filter: { state: 'ready' },
      order: { key, isDescending },
      limit: 10,
      ...(after !== undefined && { after }),
    })
    expect(items.length + remaining).toBe(isDescending ? at : ready.length - at - 1)
  }
})

function valueOf(checkpoint: Checkpoint, key: SortKey): string | number {
  if (key === 'takenAt') return checkpoint.takenAt.millis
  return key === 'discoveredAt' ? checkpoint.discoveredAt.getTime() : checkpoint[key]
}

interface Asked {
  readonly sql: string
  readonly plan: readonly string[]
}

const namesTable = (step: string) => /^(?:SCAN|SEARCH) checkpoints/.test(step)
const isWalk = (step: string) => step.startsWith('SCAN checkpoints')
const isSort = (step: string) => step.includes('TEMP B-TREE')

interface List {
  readonly filter: CheckpointFilter
  readonly key: SortKey
  readonly rows: number
}

function isWrong({ sql, plan }: Asked, { filter, key, rows }: List): boolean {
  if (!plan.some(namesTable) || plan.some(readsTable)) return true
  if (key === 'takenAt' && (plan.some(isSort) || (isOneValue(filter) && plan.some(isWalk)))) return true
  // To sort rows, or to look at them for a count, takes a filter that leaves few.
  const looksAtRows = sql.includes('count(*)') && plan.some((step) => step.includes(' USING INDEX '))
  return rows > FEW_ROWS && (plan.some(isSort) || looksAtRows)
}

function isOneValue(filter: CheckpointFilter): boolean {
  return Object.keys(filter).some((name) => !RANGES.has(name))
}

/** Every row of the table read, or rows found by anything but one of the indexes. */
function readsTable(step: string): boolean {
  return (
    /^(?:SCAN|SEARCH) checkpoints/.test(step) && !/ USING (?:COVERING )?INDEX checkpoints_/.test(step) && !isCount(step)
  )
}

/** A count of all rows without a condition, for which SQLite takes whichever index is the smallest. */
function isCount(step: string): boolean {
  return step.startsWith('SCAN checkpoints USING COVERING INDEX sqlite_autoindex')
}

/** What a call asked of the database, and how SQLite goes about it. */
function statementsOf(call: () => void): Asked[] {
  const prepare = vi.spyOn(database, 'prepare')
  try {
    call()
    return prepare.mock.calls.map(([sql]) => ({ sql, plan: planOf(sql) }))
  } finally {
    prepare.mockRestore()
  }
}

function planOf(sql: string): string[] {
  const parameters = Object.fromEntries([...sql.matchAll(/:(\w+)/g)].map(([, name]) => [name, 0]))
  const explain = Object.getPrototypeOf(database) as Sqlite.Database
  return explain.prepare
    .call<Sqlite.Database, [string], Sqlite.Statement<[object], { detail: string }>>(
      database,
      `EXPLAIN QUERY PLAN ${sql}`,
    )
    .all(parameters)
    .map(({ detail }) => detail)
}
