import { truncateSync, utimesSync } from 'node:fs'
import { Agent as Connections, createServer, request } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { createApp } from '../../../src/http/app.ts'
import { silentLogger } from '../../../src/shared/logger.ts'
import { accessOf } from '../../http/role-services.ts'
import { writeArchive } from '../../support/archive-builder.ts'
import { startTestAgent, type TestAgent } from '../../support/test-agent.ts'

/** The settings as they are shipped. */
const RATES = {
  capturesPerMinute: 60,
  contentPerMinute: 600,
  inspectionsPerMinute: 120,
  verifiesPerMinute: 12,
  changesPerMinute: 120,
  accessPerMinute: 60,
}

const ROLE = ['list', 'get', 'update', 'delete']
  .map((verb) => `${verb} checkpoints in `)
  .concat('get checkpoints/proxy in ')
const ROUNDS = 6
const CONNECTIONS = 24

/** More than anybody waits for on a machine that has other work: without admission the work below takes far longer, or never ends. */
const PATIENCE_MS = 5000

interface Answer {
  readonly status: number
  readonly code: string | undefined
  readonly hint: string
  readonly retryAfter: string | undefined
  readonly millis: number
}

const FLOODS = [
  { of: 'verify', method: 'POST', path: (id: string) => `/v1/checkpoints/${id}/verify`, names: 'verifiesPerMinute' },
  {
    of: 'members',
    method: 'GET',
    path: (id: string) => `/v1/checkpoints/${id}/members`,
    names: 'inspectionsPerMinute',
  },
  {
    of: 'rootfs diffs',
    method: 'GET',
    path: (id: string) => `/v1/checkpoints/${id}/rootfs-diff`,
    names: 'inspectionsPerMinute',
  },
  { of: 'containers', method: 'GET', path: () => '/v1/containers', names: undefined },
  {
    of: 'access',
    method: 'GET',
    path: (_id: string, at: number) => `/v1/access?namespace=random-${String(at)}`,
    names: 'accessPerMinute',
  },
  { of: 'captures', method: 'GET', path: () => '/v1/captures', names: undefined },
  { of: 'pins', method: 'PUT', path: (id: string) => `/v1/checkpoints/${id}/pin`, names: undefined },
] as const

describe("one user's flood", () => {
  let test: TestAgent
  let ids: readonly string[]
  let ask: Awaited<ReturnType<typeof serve>>['ask']
  let close: () => void

  beforeAll(async () => {
    test = await startTestAgent()
    test.runtime.webPod()
    ids = await addArchives(test, 4 + 2 * FLOODS.length)
    ;({ ask, close } = await serve(test))
  }, 60_000)
  afterAll(async () => {
    close()
    await test[Symbol.asyncDispose]()
  })

  it.each(FLOODS)(
    'of $of leaves others their list, downloads and removals',
    async ({ of, method, path, names }) => {
      const over = new AbortController()
      const connections = new Connections({ keepAlive: true, maxSockets: CONNECTIONS })
      const refused: Answer[] = []
      const others = new Set<number>()
      let asked = 0
      const attack = async () => {
        while (!over.signal.aborted) {
          asked += 1
          const answer = await ask(`eve-${of}`, { method, path: path(ids[asked % 3] ?? '', asked), connections })
          if (answer.status === 429) refused.push(answer)
          else others.add(answer.status)
        }
      }
      const attackers = Array.from({ length: CONNECTIONS }, attack)
      const answers: Answer[] = []
      const removed = ids.slice(4 + 2 * FLOODS.findIndex((flood) => flood.of === of))
      for (let round = 0; round < ROUNDS; round += 1) {
        answers.push(await ask('ada', { method: 'GET', path: '/v1/checkpoints' }))
        answers.push(await ask('ada', { method: 'GET', path: `/v1/checkpoints/${ids[3] ?? ''}/archive` }))
        // One of the places for looking into archives is left for others.
        answers.push(await ask('ada', { method: 'GET', path: `/v1/checkpoints/${ids[3] ?? ''}/members` }))
        if (round < 2) {
          answers.push(await ask('ada', { method: 'DELETE', path: `/v1/checkpoints/${removed[round] ?? ''}` }))
        }
        await new Promise((resolve) => setTimeout(resolve, 20))
      }
      const isTold = () => names === undefined || refused.some(({ hint }) => hint.includes(names))
      await expect.poll(isTold, { timeout: 20_000 }).toBe(true)
      over.abort()
      await Promise.all(attackers)
      connections.destroy()

      expect(answers.map(({ status }) => status).filter((status) => status !== 200)).toEqual([204, 204])
      expect(Math.max(...answers.map(({ millis }) => millis))).toBeLessThan(PATIENCE_MS)
      expect([...others]).toEqual([200])
      for (const { hint, retryAfter } of refused) {
        expect(hint).toMatch(/inspection\.perUser|server\.limits\.\w+PerMinute/)
        expect(retryAfter).toMatch(/^[1-9]\d*$/)
      }
    },
    60_000,
  )

  it('of verifications that hang up ends them, and gives their places back', async () => {
    // A minute's work.
    truncateSync(join(test.folder.checkpoints, test.archives()[0] ?? ''), 64 * 1024 ** 3)
    for (let round = 0; round < 11; round += 1) {
      const caller = new AbortController()
      const left = ask('eve', {
        method: 'POST',
        path: `/v1/checkpoints/${ids[0] ?? ''}/verify`,
        signal: caller.signal,
      }).catch(() => 'left')
      await new Promise((resolve) => setTimeout(resolve, 10))
      caller.abort()
      expect(await left).toBe('left')
    }
    const answer = await ask('eve', { method: 'POST', path: `/v1/checkpoints/${ids[1] ?? ''}/verify` })
    expect(answer.status).toBe(200)
  }, 60_000)
})

/** Their ids, once all are known whole. */
async function addArchives(test: TestAgent, count: number): Promise<readonly string[]> {
  for (let at = 0; at < count; at += 1) {
    const takenAt = new Date(Date.UTC(2026, 5, 1 + at))
    const name = `checkpoint-web_shop-counter-${takenAt.toISOString().replace('.000', '')}.tar`
    const path = join(test.folder.checkpoints, name)
    writeArchive(path, { namespace: 'shop', pod: 'web', container: 'counter', checkpointedAt: takenAt })
    utimesSync(path, takenAt, takenAt)
  }
  const order = { key: 'takenAt', isDescending: false } as const
  return vi.waitFor(
    async () => {
      const { items } = await test.agent.checkpoints.list({ filter: { state: 'ready' }, order, limit: 100 })
      expect(items).toHaveLength(count)
      return items.map(({ id }) => id)
    },
    { timeout: 20_000 },
  )
}

interface Ask {
  readonly method: string
  readonly path: string
  readonly connections?: Connections
  readonly signal?: AbortSignal
}

async function serve({ agent }: TestAgent) {
  const app = createApp(
    {
      node: { status: () => agent.status(undefined) },
      containers: { look: () => agent.lookAtRunning() },
      captures: agent.captures,
      checkpoints: agent.checkpoints,
      actions: agent.actions,
      contents: agent.contents,
      custody: {
        page: (query) => agent.custody.page(query),
        head: () => agent.custody.head(),
        verify: (head) => agent.custody.verify(head),
        export: (after) => agent.custody.export(after),
        manifest: (checkpoint) => agent.manifest(checkpoint),
      },
      retention: agent.retention,
      kubelet: agent.kubelet,
      health: { isAlive: () => true, checks: () => agent.health() },
      metrics: () => agent.metrics.render(),
    },
    {
      logger: silentLogger,
      nodeName: 'node-a',
      access: accessOf(
        Object.fromEntries(['ada', 'eve', ...FLOODS.map(({ of }) => `eve-${of}`)].map((user) => [user, ROLE])),
      ),
      rates: RATES,
    },
  )
  const server = createServer(app)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  const close = () => {
    server.close()
    server.closeAllConnections()
  }
  const ask = (user: string, { method, path, connections, signal }: Ask) =>
    new Promise<Answer>((resolve, reject) => {
      const began = performance.now()
      const sent = request(
        {
          port,
          method,
          path,
          headers: { Authorization: `Bearer ${user}` },
          agent: connections ?? false,
          ...(signal !== undefined && { signal }),
        },
        (answer) => {
          const chunks: Buffer[] = []
          answer.on('data', (chunk: Buffer) => chunks.push(chunk))
          answer.on('error', reject)
          answer.on('end', () => {
            const status = answer.statusCode ?? 0
            const { code, hint = '' } = (status >= 400 ? JSON.parse(Buffer.concat(chunks).toString()) : {}) as {
              readonly code?: string
              readonly hint?: string
            }
            const retryAfter = answer.headers['retry-after']
            resolve({ status, code, hint, retryAfter, millis: performance.now() - began })
          })
        },
      )
      sent.on('error', reject)
      sent.end()
    })
  return { ask, close }
}
