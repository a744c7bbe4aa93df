import Sqlite from 'better-sqlite3'
import { array, assert, boolean, constantFrom, integer, property, tuple } from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Checkpoint, CheckpointState } from '../../src/checkpoint/checkpoint.ts'
import { NotFoundError } from '../../src/shared/errors.ts'
import {
  toSql,
  type CheckpointCursor,
  type CheckpointFilter,
  type CheckpointOrder,
  type SortKey,
} from '../../src/store/checkpoint-query.ts'
import { CheckpointStore } from '../../src/store/checkpoint-store.ts'
import { migrate } from '../../src/store/migrations.ts'

function openStore(): { readonly store: CheckpointStore; readonly database: Sqlite.Database } {
  const database = new Sqlite(':memory:')
  migrate(database)
  return { store: new CheckpointStore(database), database }
}

function checkpoint(number: number, changes: Partial<Checkpoint> = {}): Checkpoint {
  return {
    id: number.toString(16).padStart(16, '0'),
    rawName: Buffer.from(`checkpoint-${number}.tar`),
    fileName: `checkpoint-${number}.tar`,
    generation: `1:2:${number}`,
    state: 'hashing',
    problems: [],
    identity: { namespace: 'shop', pod: 'web-0', container: 'counter', source: 'archive', isBelieved: true },
    engine: 'containerd',
    sizeBytes: 1000 + number,
    takenAt: { text: '2026-11-20T10:00:00.123456789Z', millis: 1_000_000 + number },
    discoveredAt: new Date(2_000_000 + number),
    summary: { kind: 'container', compression: 'none', memoryBytes: 139_264 },
    ...changes,
  }
}

const SORT_KEYS: readonly SortKey[] = ['takenAt', 'discoveredAt', 'sizeBytes', 'fileName']
const FILTERS: Readonly<Record<string, CheckpointFilter>> = {
  nothing: {},
  namespace: { namespace: 'shop' },
  pod: { pod: 'web-0' },
  container: { container: 'counter' },
  podUid: { podUid: 'u' },
  engine: { engine: 'containerd' },
  state: { state: 'ready' },
  identitySource: { identitySource: 'archive' },
  pinned: { pinned: true },
  takenAfter: { takenAfter: new Date(1) },
  takenBefore: { takenBefore: new Date(1) },
  minBytes: { minBytes: 5 },
}

describe('CheckpointStore', () => {
  it('gives back what was saved', () => {
    const { store } = openStore()
    const saved = checkpoint(1, { sha256: 'ab', pin: { by: 'us', reason: 'why' }, state: 'ready' })
    store.saveAll([saved, checkpoint(2)])
    expect(store.get(saved.id)).toEqual(saved)
    expect(store.countByState()).toEqual({ hashing: 1, ready: 1 })
    expect(store.totalBytes()).toBe(2003)
    store.removeAll([saved.id, saved.id])
    expect(() => store.get(saved.id)).toThrow(NotFoundError)
  })

  it('takes a digest only for the generation that was hashed', () => {
    const { store } = openStore()
    const row = checkpoint(1)
    store.saveAll([row])
    expect(store.setHash(row.id, 'another', 'ab')).toBe(false)
    expect(store.get(row.id).state).toBe('hashing')
    expect(store.setHash(row.id, row.generation, 'ab')).toBe(true)
    expect(store.get(row.id)).toMatchObject({ state: 'ready', sha256: 'ab' })
  })

  it.each(Object.entries(FILTERS).flatMap(([name, filter]) => SORT_KEYS.map((key) => ({ name, filter, key }))))(
    'answers a list by $name in the order of $key from an index',
    ({ filter, key }) => {
      const { database } = openStore()
      for (const isDescending of [true, false]) {
        const { page, parameters } = toSql({ filter, order: { key, isDescending }, limit: 100 })
        const plan = database
          .prepare<[object], { detail: string }>(`EXPLAIN QUERY PLAN ${page}`)
          .all(parameters)
          .map(({ detail }) => detail)
        expect(plan).toHaveLength(1)
        expect(plan[0]).toMatch(/USING (?:COVERING )?INDEX checkpoints_/)
      }
    },
  )

  it('never repeats or skips a row between pages, whatever is added or removed meanwhile', () => {
    const states: readonly CheckpointState[] = ['ready', 'damaged']
    assert(
      property(
        array(tuple(integer({ min: 0, max: 5 }), constantFrom(...states)), { minLength: 1, maxLength: 40 }),
        constantFrom(...SORT_KEYS),
        boolean(),
        integer({ min: 1, max: 7 }),
        (rows, key, isDescending, limit) => {
          const { store } = openStore()
          // Few different values, so that many rows sort equal.
          const stable = rows.map(([value, state], at) =>
            checkpoint(at * 2, {
              state,
              sizeBytes: value,
              fileName: `f${value}`,
              takenAt: { text: 't', millis: value },
              discoveredAt: new Date(value),
            }),
          )
          store.saveAll(stable)
          const seen: string[] = []
          let after: CheckpointCursor | undefined
          const order: CheckpointOrder = { key, isDescending }
          for (let page = 0; page < 200; page += 1) {
            const answer = store.list({ filter: {}, order, limit, ...(after !== undefined && { after }) })
            seen.push(...answer.items.map(({ id }) => id))
            // A row that comes and goes while somebody pages.
            const guest = checkpoint(page * 2 + 1, { sizeBytes: page % 6, takenAt: { text: 't', millis: page % 6 } })
            if (page % 2 === 0) store.saveAll([guest])
            else store.removeAll([checkpoint((page - 1) * 2 + 1).id])
            if (answer.next === undefined) break
            after = answer.next
          }
          const wanted = new Set(stable.map(({ id }) => id))
          const found = seen.filter((id) => wanted.has(id))
          expect(new Set(found).size).toBe(found.length)
          expect(new Set(found)).toEqual(wanted)
        },
      ),
      { numRuns: 40 },
    )
  })
})
