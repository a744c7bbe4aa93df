import Sqlite from 'better-sqlite3'
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Checkpoint, CheckpointState } from '../../src/checkpoint/checkpoint.ts'
import type { IdentitySource } from '../../src/checkpoint/identity.ts'
import {
  FEW_ROWS,
  type CheckpointCursor,
  type CheckpointFilter,
  type CheckpointOrder,
  type SortKey,
} from '../../src/store/checkpoint-query.ts'
import { CheckpointStore } from '../../src/store/checkpoint-store.ts'
import { migrate } from '../../src/store/migrations.ts'
import { sampleCheckpoint } from '../support/sample-checkpoints.ts'

const SORT_KEYS: readonly SortKey[] = ['takenAt', 'discoveredAt', 'sizeBytes', 'fileName']
const RUNS = process.env['SLOW'] === '1' ? 2_000 : 150

interface Shelf {
  readonly database: Sqlite.Database
  readonly store: CheckpointStore
}

describe('CheckpointStore.list', () => {
  it('gives the newest first, in pages that say how many follow', () => {
    const { store } = shelfWith([1, 2, 3].map((index) => sampleCheckpoint(index)))
    const order = { key: 'takenAt', isDescending: true } as const
    const first = store.list({ filter: {}, order, limit: 2 })
    expect(first.items.map(({ id }) => id)).toEqual([sampleCheckpoint(3).id, sampleCheckpoint(2).id])
    expect(first.remaining).toBe(1)
    if (first.next === undefined) throw new Error('there is one more')
    expect(store.list({ filter: {}, order, limit: 2, after: first.next })).toMatchObject({
      items: [{ id: sampleCheckpoint(1).id }],
      remaining: 0,
      next: undefined,
    })
  })

  it('has no next page when the last one is just full', () => {
    const { store } = shelfWith([sampleCheckpoint(1), sampleCheckpoint(2)])
    const page = store.list({ filter: {}, order: { key: 'fileName', isDescending: false }, limit: 2 })
    expect(page).toMatchObject({ remaining: 0, next: undefined })
  })

  it('excludes both ends of a span of time, and includes the smallest size', () => {
    const [early, middle, late] = [1, 2, 3].map((index) => sampleCheckpoint(index, { sizeBytes: index }))
    if (early === undefined || middle === undefined || late === undefined) throw new Error('three were made')
    const { store } = shelfWith([early, middle, late])
    const ids = (filter: CheckpointFilter) =>
      store.list({ filter, order: { key: 'takenAt', isDescending: false }, limit: 9 }).items.map(({ id }) => id)
    const takenAfter = new Date(early.takenAt.millis)
    const takenBefore = new Date(late.takenAt.millis)
    expect(ids({ takenAfter, takenBefore })).toEqual([middle.id])
    expect(ids({ minBytes: 2 })).toEqual([middle.id, late.id])
  })

  it.each<CheckpointFilter>([
    { namespace: 'Shop' },
    { pod: '' },
    { engine: 'docker' },
    { engine: 'toString' },
    { state: 'gone' },
    { identitySource: 'hearsay' },
  ])('finds nothing for %j', (filter) => {
    const { store } = shelfWith([1, 2].map((index) => sampleCheckpoint(index)))
    expect(listAll(store, filter, { key: 'takenAt', isDescending: true })).toEqual([])
  })

  it('finds the same, in the same order, as a look at every row', () => {
    fc.assert(
      fc.property(shelves, filters, orders, fc.integer({ min: 1, max: 7 }), (checkpoints, filter, order, limit) => {
        const { store } = shelfWith(checkpoints)
        const expected = checkpoints.filter((checkpoint) => matches(checkpoint, filter)).toSorted(comparing(order))
        let after: CheckpointCursor | undefined
        const seen: string[] = []
        do {
          const page = store.list({ filter, order, limit, ...(after !== undefined && { after }) })
          seen.push(...page.items.map(({ id }) => id))
          expect(page.remaining).toBe(expected.length - seen.length)
          after = page.next
        } while (after !== undefined)
        expect(seen).toEqual(expected.map(({ id }) => id))
      }),
      { numRuns: RUNS },
    )
  })

  it('gives what is there throughout exactly once, whatever comes and goes between the pages', () => {
    fc.assert(
      fc.property(shelves, filters, orders, fc.array(shelves, { maxLength: 6 }), (staying, filter, order, others) => {
        const ids = new Set(staying.map(({ id }) => id))
        const { store } = shelfWith(staying)
        const visitors = others.map((batch) => batch.filter(({ id }) => !ids.has(id)))
        let after: CheckpointCursor | undefined
        const seen: string[] = []
        for (let turn = 0; ; turn += 1) {
          const { items, next } = store.list({ filter, order, limit: 2, ...(after !== undefined && { after }) })
          seen.push(...items.map(({ id }) => id))
          after = next
          if (after === undefined) break
          const { [turn % (visitors.length + 1)]: coming = [] } = visitors
          const { [(turn + 1) % (visitors.length + 1)]: going = [] } = visitors
          store.removeAll(going)
          store.saveAll(coming)
        }
        const stayed = staying.filter((checkpoint) => matches(checkpoint, filter)).toSorted(comparing(order))
        expect(seen.filter((id) => ids.has(id))).toEqual(stayed.map(({ id }) => id))
      }),
      { numRuns: RUNS },
    )
  })

  it('knows every namespace that is named', () => {
    const spaces = ['shop', undefined, 'bank', 'shop', 'a']
    const { store } = shelfWith(
      spaces.map((namespace, index) => {
        const identity = { source: 'archive', isTrusted: true, ...(namespace !== undefined && { namespace }) } as const
        return sampleCheckpoint(index, { identity })
      }),
    )
    expect(store.namespaces().toSorted()).toEqual(['a', 'bank', 'shop'])
    expect(shelfWith([]).store.namespaces()).toEqual([])
  })

  it('finds the same by a walk through the order as by sorting the few', () => {
    const few = Array.from({ length: FEW_ROWS }, (_, index) => sampleCheckpoint(index, { engine: 'podman' }))
    const { store } = shelfWith([...few, sampleCheckpoint(FEW_ROWS + 1)])
    for (const key of SORT_KEYS) {
      for (const isDescending of [true, false]) {
        const order = { key, isDescending }
        store.removeAll([sampleCheckpoint(FEW_ROWS + 2)])
        const sorted = listAll(store, { engine: 'podman' }, order)
        expect(sorted).toEqual(few.toSorted(comparing(order)).map(({ id }) => id))
        const more = sampleCheckpoint(FEW_ROWS + 2, { engine: 'podman' })
        store.saveAll([more])
        const walked = listAll(store, { engine: 'podman' }, order)
        expect(walked).toHaveLength(FEW_ROWS + 1)
        expect(walked.filter((id) => id !== more.id)).toEqual(sorted)
      }
    }
  })
})

function shelfWith(checkpoints: readonly Checkpoint[]): Shelf {
  const database = new Sqlite(':memory:')
  migrate(database)
  const store = new CheckpointStore(database)
  store.saveAll(checkpoints)
  return { database, store }
}

function listAll(store: CheckpointStore, filter: CheckpointFilter, order: CheckpointOrder): string[] {
  const ids: string[] = []
  let after: CheckpointCursor | undefined
  do {
    const page = store.list({ filter, order, limit: 700, ...(after !== undefined && { after }) })
    ids.push(...page.items.map(({ id }) => id))
    after = page.next
  } while (after !== undefined)
  return ids
}

/** Few values each, so that rows meet and sort values are equal. */
const NAMES = ['shop', 'web-0', 'x'] as const
const names = fc.constantFrom(...NAMES)
const times = fc.integer({ min: 1, max: 4 }).map((millis) => new Date(millis))
const sizes = fc.constantFrom(0, 1, 2, 2 ** 40)
const states = fc.constantFrom<CheckpointState>('discovered', 'hashing', 'ready', 'incomplete', 'damaged')
const sources = fc.constantFrom<IdentitySource>('observed', 'archive', 'name', 'unknown')
const engines = fc.constantFrom<Checkpoint['engine']>('containerd', 'cri-o', 'podman', 'unknown')

const reasons = fc.constantFrom(undefined, 'incident 7', 'nightly', 'a\\\\b')

const shelves = fc.uniqueArray(
  fc
    .record({
      index: fc.nat(10_000),
      identity: fc.record(
        { namespace: names, pod: names, podUid: names, container: names, source: sources, isTrusted: fc.boolean() },
        { requiredKeys: ['source', 'isTrusted'] },
      ),
      takenAt: times,
      discoveredAt: times,
      sizeBytes: sizes,
      state: states,
      engine: engines,
      isPinned: fc.boolean(),
      pinReason: reasons,
      reason: reasons,
    })
    .map(({ index, identity, takenAt, isPinned, pinReason, reason, ...changes }) =>
      sampleCheckpoint(index, {
        ...changes,
        identity,
        takenAt: { text: takenAt.toISOString(), millis: takenAt.getTime() },
        ...(reason !== undefined && { reason }),
        ...(isPinned && { pin: { by: 'us' as const, ...(pinReason !== undefined && { reason: pinReason }) } }),
      }),
    ),
  { maxLength: 40, selector: ({ id }) => id },
)

const filters: fc.Arbitrary<CheckpointFilter> = fc
  .record({
    namespace: names,
    pod: names,
    podUid: names,
    container: names,
    engine: engines,
    state: states,
    identitySource: sources,
    pinned: fc.boolean(),
    takenAfter: times,
    takenBefore: times,
    minBytes: sizes,
    reason: fc.constantFrom('incident 7', 'nightly', 'a\\b', 'nowhere'),
    belongsTo: fc.oneof(fc.constant('any' as const), fc.subarray([...NAMES, 'nowhere'])),
  })
  .chain((whole) => fc.subarray(Object.entries(whole), { maxLength: 3 }))
  .map((some) => Object.fromEntries(some))

const orders = fc.record({ key: fc.constantFrom(...SORT_KEYS), isDescending: fc.boolean() })

function matches({ identity, ...checkpoint }: Checkpoint, filter: CheckpointFilter): boolean {
  const { belongsTo, takenAfter, takenBefore, minBytes, pinned, reason, identitySource, state, engine, ...wanted } =
    filter
  const { millis } = checkpoint.takenAt
  return (
    (Object.entries(wanted) as [keyof typeof wanted, string][]).every(([key, value]) => identity[key] === value) &&
    (belongsTo === undefined || belongs(identity, belongsTo)) &&
    (identitySource === undefined || identity.source === identitySource) &&
    (state === undefined || checkpoint.state === state) &&
    (engine === undefined || checkpoint.engine === engine) &&
    (reason === undefined ||
      [reason, reason.replaceAll('\\', '\\\\')].includes(checkpoint.pin?.reason ?? '') ||
      checkpoint.reason === reason) &&
    (pinned === undefined || (checkpoint.pin !== undefined) === pinned) &&
    (takenAfter === undefined || millis > takenAfter.getTime()) &&
    (takenBefore === undefined || millis < takenBefore.getTime()) &&
    (minBytes === undefined || checkpoint.sizeBytes >= minBytes)
  )
}

function belongs({ namespace, isTrusted }: Checkpoint['identity'], to: 'any' | readonly string[]): boolean {
  return namespace !== undefined && isTrusted && (to === 'any' || to.includes(namespace))
}

function comparing({ key, isDescending }: CheckpointOrder): (a: Checkpoint, b: Checkpoint) => number {
  const valueOf = (checkpoint: Checkpoint) => {
    if (key === 'takenAt') return checkpoint.takenAt.millis
    return key === 'discoveredAt' ? checkpoint.discoveredAt.getTime() : checkpoint[key]
  }
  return (a, b) => (compare(valueOf(a), valueOf(b)) || compare(tieOf(a), tieOf(b))) * (isDescending ? -1 : 1)
}

/** Ids are compared as the numbers that they are to SQLite: signed. */
function tieOf({ id }: Checkpoint): bigint {
  return BigInt.asIntN(64, BigInt(`0x${id}`))
}

function compare(a: string | number | bigint, b: string | number | bigint): number {
  return a < b ? -1 : a > b ? 1 : 0
}
