import express from 'express'
import { mkdtempSync, rmSync } from 'node:fs'
import { Agent, createServer, request } from 'node:http'
import { once } from 'node:events'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import process from 'node:process'
import { OPEN_TO_ALL } from '../src/access/access.ts'
import { authorize } from '../src/http/authorize.ts'
import { checkpointRoutes } from '../src/http/checkpoint-routes.ts'
import { Judge } from '../src/http/judge.ts'
import { Rates, UNLIMITED } from '../src/http/rates.ts'
import { systemClock } from '../src/shared/clock.ts'
import { silentLogger } from '../src/shared/logger.ts'
import { CheckpointStore } from '../src/store/checkpoint-store.ts'
import { openDatabase } from '../src/store/database.ts'
import type { Checkpoint } from '../src/checkpoint/checkpoint.ts'
import { manyCheckpoints, sampleCheckpoint } from '../test/support/sample-checkpoints.ts'
import { announceRunTime, quantile } from './bounds.ts'
import { median } from './paired.ts'

// Pages of the list over HTTP, with 100,000 rows in a database on disk: each filter by itself, with values that nearly
// all rows have, some thousands and a few, in every order: the first page, the one after it, and one in the middle of the list.

const ROWS = 100_000
const BATCH = 1_000
const ROUNDS = 4
const PAGE_BOUND_MS = 15
const BATCH_BOUND_MS = 30

const VALUES: Readonly<Record<string, (checkpoint: Checkpoint) => string | number>> = {
  takenAt: ({ takenAt }) => takenAt.millis,
  discoveredAt: ({ discoveredAt }) => discoveredAt.getTime(),
  sizeBytes: ({ sizeBytes }) => sizeBytes,
  fileName: ({ fileName }) => fileName,
}
const SORTS = Object.keys(VALUES).flatMap((key) => [`-${key}`, key])

const takenAt = (index: number) => sampleCheckpoint(index).takenAt.text

const FILTERS = [
  '',
  ...['shop', 'early', 'team-20'].map((namespace) => `namespace=${namespace}`),
  ...['web-0', 'web-deployment-7c9d8f5b6d-8rs'].map((pod) => `pod=${pod}`),
  ...['counter', 'middling', 'sidecar-6'].map((container) => `container=${container}`),
  ...['uid-of-web-0', 'nobody'].map((podUid) => `podUid=${podUid}`),
  ...['containerd', 'podman', 'cri-o'].map((engine) => `engine=${engine}`),
  ...['ready', 'damaged', 'incomplete'].map((state) => `state=${state}`),
  ...['archive', 'name', 'observed'].map((source) => `identitySource=${source}`),
  'pinned=true',
  'pinned=false',
  ...[0, 50_000, ROWS - 20].map((index) => `takenAfter=${takenAt(index)}`),
  ...[ROWS, 50_000, 20].map((index) => `takenBefore=${takenAt(index)}`),
  ...[0, 500_000_000, 10_000_005_990].map((minBytes) => `minBytes=${minBytes}`),
]

announceRunTime('checkpoint-list')
const folder = mkdtempSync(join(tmpdir(), 'checkpoint-list-'))
const database = openDatabase({ file: join(folder, 'state', 'index.db'), clock: systemClock, logger: silentLogger })
const agent = new Agent({ keepAlive: true })
const store = new CheckpointStore(database)
const services = {
  list: store.list.bind(store),
  get: store.get.bind(store),
  namespaces: store.namespaces.bind(store),
  members: () => Promise.reject(new Error('not asked for here')),
}
const captures = { get: () => services.members() as never }
const judge = new Judge(OPEN_TO_ALL.authorizer, 'node-a')
const server = createServer(
  express()
    .set('query parser', false)
    .use(
      authorize({
        access: OPEN_TO_ALL,
        judge,
        rates: new Rates(judge, UNLIMITED),
        services: { checkpoints: services, captures },
        clock: systemClock,
      }),
    )
    .use(checkpointRoutes(services, { nodeName: 'node-a' })),
)
const socketPath = join(folder, 'agent.sock')
try {
  const checkpoints = [...manyCheckpoints(ROWS)]
  const batchMs = fill(checkpoints)
  const middles = findMiddles(checkpoints)
  report('1,000 rows, the first ten batches', batchMs.slice(0, 10), { bound: BATCH_BOUND_MS, at: 0.5, note: 'median' })
  // Without a bound: each of them touches another page of nearly every index.
  const late = batchMs.slice(-10)
  console.log(`bench 1,000 rows, with 90,000 there: ${format(median(millisOf(late)))}: no bound, median`)
  server.listen(socketPath)
  await once(server, 'listening')
  for (const filter of FILTERS) await measure(filter, middles)
} finally {
  agent.destroy()
  server.close()
  database.close()
  rmSync(folder, { recursive: true })
}

interface Taken {
  readonly millis: number
  /** Of the processor, in this process: the server's part and the client's. */
  readonly cpuMillis: number
}

function stopwatch(): () => Taken {
  const [begun, cpu] = [performance.now(), process.cpuUsage()]
  return () => {
    const { user, system } = process.cpuUsage(cpu)
    return { millis: performance.now() - begun, cpuMillis: (user + system) / 1000 }
  }
}

function fill(checkpoints: readonly Checkpoint[]): Taken[] {
  const times: Taken[] = []
  for (let at = 0; at < checkpoints.length; at += BATCH) {
    const batch = checkpoints.slice(at, at + BATCH)
    const stop = stopwatch()
    store.saveAll(batch)
    times.push(stop())
  }
  return times
}

interface Position {
  readonly value: string | number
  readonly id: string
}

/** The row in the middle of each order. */
function findMiddles(checkpoints: readonly Checkpoint[]): ReadonlyMap<string, Position> {
  return new Map(
    Object.entries(VALUES).flatMap(([key, valueOf]) => {
      const positions = checkpoints.map((checkpoint) => ({ value: valueOf(checkpoint), id: checkpoint.id }))
      const middle = positions.toSorted((a, b) => (a.value < b.value ? -1 : 1))[ROWS / 2]
      return middle === undefined
        ? []
        : ([
            [key, middle],
            [`-${key}`, middle],
          ] as const)
    }),
  )
}

async function measure(filter: string, middles: ReadonlyMap<string, Position>): Promise<void> {
  const bySort = new Map<string, Taken[]>(SORTS.map((sort) => [sort, []]))
  for (let round = 0; round <= ROUNDS; round += 1) {
    for (const [sort, times] of bySort) {
      const path = `/v1/checkpoints?sort=${sort}&${filter}`
      const pages = [await get(path)]
      const { next } = pages[0] ?? {}
      if (next !== undefined) {
        pages.push(await get(`${path}&continue=${next}`))
        pages.push(await get(`${path}&continue=${moved(next, middles.get(sort))}`))
      }
      // The first round warms up.
      if (round > 0) times.push(...pages.map(({ taken }) => taken))
    }
  }
  const worst = [...bySort].toSorted(([, a], [, b]) => median(millisOf(b)) - median(millisOf(a)))[0]?.[0] ?? ''
  const all = [...bySort.values()].flat()
  report(`list, ${filter === '' ? 'no filter' : filter}`, all, {
    bound: PAGE_BOUND_MS,
    at: 0.99,
    note: `p99 of ${all.length} pages, p50 ${format(median(millisOf(all)))}, slowest order ${worst}`,
  })
}

/** The token of a page of the same list, but of one that begins elsewhere. */
function moved(token: string, position: Position | undefined): string {
  const decoded = JSON.parse(Buffer.from(token, 'base64url').toString()) as object
  return Buffer.from(JSON.stringify({ ...decoded, ...position })).toString('base64url')
}

async function get(path: string): Promise<{ readonly taken: Taken; readonly next: string | undefined }> {
  const stop = stopwatch()
  const outgoing = request({ socketPath, path, agent }).end()
  const [answer] = (await once(outgoing, 'response')) as [AsyncIterable<Buffer> & { statusCode?: number }]
  const chunks: Buffer[] = []
  for await (const chunk of answer) chunks.push(chunk)
  const taken = stop()
  const text = Buffer.concat(chunks).toString()
  if (answer.statusCode !== 200) throw new Error(`GET ${path} was answered ${answer.statusCode}: ${text}`)
  return { taken, next: (JSON.parse(text) as { continue?: string }).continue }
}

interface Promised {
  readonly bound: number
  /** Which part of the values must be within the bound. */
  readonly at: number
  readonly note: string
}

/** Reports only, as what has no peer in the same run. */
function report(name: string, times: readonly Taken[], { bound, at, note }: Promised): void {
  const value = quantile(millisOf(times), at)
  const cpu = quantile(
    times.map(({ cpuMillis }) => cpuMillis),
    at,
  )
  const verdict = value <= bound ? 'ok' : 'OVER'
  console.log(
    `bench ${name}: ${format(value)} (bound ${bound} ms) ${verdict}: ${note}, ${format(cpu)} of the processor`,
  )
}

function millisOf(times: readonly Taken[]): number[] {
  return times.map(({ millis }) => millis)
}

function format(millis: number): string {
  return `${millis.toFixed(1)} ms`
}
