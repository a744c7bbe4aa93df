import Sqlite from 'better-sqlite3'
import { beforeAll, describe, expect, it } from 'vitest'
import { ApiClient } from '../../src/api/client.ts'
import { readPages } from '../../src/api/pages.ts'
import { JobStore } from '../../src/store/job-store.ts'
import { migrate } from '../../src/store/migrations.ts'
import { counter, job, startApp, succeeded } from './http-services.ts'
import { accessOf } from './role-services.ts'

/** As many as are kept at all. */
const MANY = 10_000
const FEW = 100

/** Those of "shop" are rare, and most of them are among the oldest. */
const isOfShop = (number: number) => number < 30 || number % 1_000 === 0

const ACCESS = accessOf({
  shopper: ['get checkpoints in shop'],
  banker: ['get checkpoints in bank'],
  nodeViewer: ['get checkpointnodes/checkpoints of node-a'],
})

let many: JobStore
let few: JobStore

beforeAll(() => {
  many = storeOf(MANY)
  few = storeOf(FEW)
})

function storeOf(jobs: number): JobStore {
  const database = new Sqlite(':memory:')
  migrate(database)
  const store = new JobStore(database)
  database.transaction(() => {
    for (let number = 0; number < jobs; number += 1) {
      const identity = { ...counter, namespace: isOfShop(number) ? 'shop' : 'bank' }
      store.insert(job({ id: String(number).padStart(26, '0'), captures: [{ ...succeeded, identity }] }))
    }
  })()
  return store
}

async function start(store: JobStore) {
  const captures = { list: store.list.bind(store), namespaces: store.namespaces.bind(store) }
  const baseUrl = `http://127.0.0.1:${await startApp({ captures, access: ACCESS })}`
  return (role: string) => new ApiClient({ baseUrl, token: role })
}

describe('the list of 10,000 captures', () => {
  it('has every job that the caller may see, the oldest too, and no other', async () => {
    const client = (await start(many))('shopper')
    const seen: string[] = []
    for await (const page of readPages((token) => client.listCaptures({ limit: 7, continue: token }))) {
      expect(page.items.every(({ identity }) => identity.namespace === 'shop')).toBe(true)
      seen.push(...page.items.map(({ id }) => id))
      expect(page.remaining).toBe(39 - seen.length)
    }
    expect(seen.map(Number)).toEqual(
      Array.from({ length: MANY }, (_, number) => number)
        .filter(isOfShop)
        .toReversed(),
    )
  })

  it.each([
    { role: 'nodeViewer', query: { limit: 1 }, items: 1, remaining: MANY - 1 },
    { role: 'nodeViewer', query: { namespace: 'shop' }, items: 39, remaining: 0 },
    { role: 'nodeViewer', query: { namespace: 'nobody' }, items: 0, remaining: 0 },
    { role: 'shopper', query: {}, items: 39, remaining: 0 },
    { role: 'shopper', query: { namespace: 'shop', limit: 2 }, items: 2, remaining: 37 },
    { role: 'banker', query: { namespace: 'bank', limit: 3 }, items: 3, remaining: MANY - 39 - 3 },
  ])('counts what follows: $role $query', async ({ role, query, items, remaining }) => {
    const page = await (await start(many))(role).listCaptures(query)
    expect(page.items).toHaveLength(items)
    expect(page.remaining).toBe(remaining)
  })

  it.each(['shopper', 'banker', 'nodeViewer'])('takes a page no longer than in a short list, as %s', async (role) => {
    const [long, short] = [(await start(many))(role), (await start(few))(role)]
    const query = { limit: 20 }
    const times = { long: [] as number[], short: [] as number[] }
    for (let round = 0; round < 60; round += 1) {
      times.long.push(await timed(() => long.listCaptures(query)))
      times.short.push(await timed(() => short.listCaptures(query)))
    }
    // Before it was by a factor of hundreds; what counts what follows takes a millisecond of its own.
    expect(p(times.long, 0.5)).toBeLessThan(p(times.short, 0.5) * 4)
    expect(p(times.long, 0.99)).toBeLessThan(p(times.short, 0.99) * 10)
  })
})

async function timed(work: () => Promise<unknown>): Promise<number> {
  const begun = performance.now()
  await work()
  return performance.now() - begun
}

function p(values: readonly number[], part: number): number {
  return values.toSorted((a, b) => a - b)[Math.floor((values.length - 1) * part)] ?? Number.NaN
}
