import { createServer, type ServerResponse } from 'node:http'
import { connect, type Socket } from 'node:net'
import type { NodeEvent } from '../../src/checkpoint/node-event.ts'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { OPEN_TO_ALL, type Access } from '../../src/access/access.ts'
import { openListeners } from '../../src/http/listeners.ts'
import type { CheckpointServices } from '../../src/http/checkpoint-services.ts'
import { silentLogger } from '../../src/shared/logger.ts'
import { UnavailableError } from '../../src/shared/errors.ts'
import { call } from './api-call.ts'
import { checkpoint, job, listen, startApp, testApp, type ServiceChanges } from './http-services.ts'
import { parseAnswer, rawRequest } from './raw-request.ts'
import { accessOf } from './role-services.ts'

const HEARTBEAT_MS = 15_000

describe('GET /v1/watch', () => {
  it('shows what happens as it happens', async () => {
    const watched = watching()
    const reader = await openReader(await startApp(watched.changes))
    await watched.begun
    await expect.poll(() => reader.text()).toContain('\r\n\r\n')
    const { status, headers } = parseAnswer(reader.text())
    expect(status).toBe(200)
    expect(headers).toMatchObject({
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-store, no-transform',
      'x-accel-buffering': 'no',
    })
    expect(headers['x-request-id']).toBeTruthy()
    expect(headers).not.toHaveProperty('content-length')
    expect(reader.events()).toEqual([])

    const shown = (await call({ checkpoints: { get: () => checkpoint() } }, 'GET /v1/checkpoints/x')).body as object
    watched.send({ id: '1', type: 'added', checkpoint: checkpoint() })
    await expect.poll(() => reader.events()).toEqual([{ id: '1', event: 'added', data: shown }])
    watched.send({ id: '2', type: 'changed', checkpoint: checkpoint({ id: 'b' }) })
    watched.send({ id: '3', type: 'removed', checkpointId: 'b' })
    watched.send({ id: '4', type: 'resync' })
    watched.send({ id: '5', type: 'capture', job: job({ id: 'j' }) })
    await expect.poll(() => reader.events()).toHaveLength(5)
    const shownJob = (await call({ captures: { get: () => job({ id: 'j' }) } }, 'GET /v1/captures/j')).body as object
    expect(reader.events().slice(1)).toEqual([
      { id: '2', event: 'changed', data: { ...shown, id: 'b' } },
      { id: '3', event: 'removed', data: { id: 'b', state: 'gone' } },
      { id: '4', event: 'resync', data: {} },
      { id: '5', event: 'capture', data: shownJob },
    ])
  })

  it.each([
    { name: 'the last event', headers: { 'Last-Event-ID': 'run-7' }, expected: 'run-7' },
    { name: 'an empty last event', headers: { 'Last-Event-ID': '' }, expected: undefined },
    { name: 'no last event', headers: {}, expected: undefined },
  ])('goes on after $name', async ({ headers, expected }) => {
    const asked: (string | undefined)[] = []
    const watch: CheckpointServices['watch'] = (lastEventId, onEvent) => {
      asked.push(lastEventId)
      onEvent({ id: '8', type: 'removed', checkpointId: 'a' })
      return () => undefined
    }
    const reader = await openReader(await startApp({ checkpoints: { watch } }), headers)
    await expect.poll(() => reader.events()).toEqual([{ id: '8', event: 'removed', data: { id: 'a', state: 'gone' } }])
    expect(asked).toEqual([expected])
  })

  it('serves several readers, each to its own end', async () => {
    const watched = watching()
    const port = await startApp(watched.changes)
    const [first, second] = [await openReader(port), await openReader(port)]
    await expect.poll(() => watched.count()).toBe(2)
    first.socket.destroy()
    await expect.poll(() => watched.count()).toBe(1)
    watched.send({ id: '1', type: 'resync' })
    await expect.poll(() => second.events()).toHaveLength(1)
    second.socket.destroy()
    await expect.poll(() => watched.count()).toBe(0)
  })

  it('serves a hundred readers, and says so to the next one', async () => {
    const watched = watching()
    const port = await startApp(watched.changes)
    const readers = await Promise.all(Array.from({ length: 100 }, () => openReader(port)))
    await expect.poll(() => watched.count()).toBe(100)
    const refused = await rawRequest(port, { method: 'GET', path: '/v1/watch' })
    expect(JSON.parse(refused.body)).toMatchObject({ status: 503, code: 'TooManyWatchers' })
    expect(refused.headers['retry-after']).toBe('30')
    readers[0]?.socket.destroy()
    await expect.poll(() => watched.count()).toBe(99)
    const reader = await openReader(port)
    await expect.poll(() => watched.count()).toBe(100)
    for (const { socket } of [...readers, reader]) socket.destroy()
    await expect.poll(() => watched.count()).toBe(0)
  })

  it('serves 25 readers of one user, and others beside them', async () => {
    const watched = watching()
    const list = ['list checkpoints in ']
    const access = accessOf({ ada: list, grace: list })
    const port = await startApp({
      ...watched.changes,
      access,
      checkpoints: { ...watched.changes.checkpoints, namespaces: shopAlone },
    })
    const readers = await Promise.all(
      Array.from({ length: 25 }, () => openReader(port, { Authorization: 'Bearer ada' })),
    )
    await expect.poll(() => watched.count()).toBe(25)
    const headers = [['Authorization', 'Bearer ada']] as const
    const refused = await rawRequest(port, { method: 'GET', path: '/v1/watch', headers })
    expect(JSON.parse(refused.body)).toMatchObject({
      status: 503,
      code: 'TooManyWatchers',
      detail: 'Cannot watch: "ada" does so 25 times already',
    })
    await openReader(port, { Authorization: 'Bearer grace' })
    await expect.poll(() => watched.count()).toBe(26)
    readers[0]?.socket.destroy()
    await expect.poll(() => watched.count()).toBe(25)
    await openReader(port, { Authorization: 'Bearer ada' })
    await expect.poll(() => watched.count()).toBe(26)
  })

  it('shows what the groups of its user allow by now, not those it began with', async () => {
    const watched = watching()
    let groups: readonly string[] = ['shop-team', 'bank-team']
    const access: Access = {
      ...OPEN_TO_ALL,
      authenticate: () => ({ principal: { user: 'ada', groups }, until: Number.POSITIVE_INFINITY }),
      authorizer: {
        decide: ({ groups: now }, { namespace = '' }) => ({
          isAllowed: now.includes(`${namespace}-team`),
          until: Number.POSITIVE_INFINITY,
        }),
      },
    }
    const checkpoints = { ...watched.changes.checkpoints, namespaces: () => ['shop', 'bank'] }
    const reader = await openReader(await startApp({ access, checkpoints }))
    await watched.begun
    const removed = (id: string, namespace: string) => {
      watched.send({ id, type: 'removed', checkpointId: 'a', namespace })
    }
    removed('1', 'bank')
    await expect.poll(() => reader.events()).toHaveLength(1)
    groups = ['shop-team']
    removed('2', 'bank')
    removed('3', 'shop')
    await expect.poll(() => reader.events().map(({ id }) => id)).toEqual(['1', '3'])
  })

  it('is asked about again with the groups of its user by now', async () => {
    const watched = watching()
    let groups: readonly string[] = ['shop-team']
    const access: Access = {
      ...OPEN_TO_ALL,
      authenticate: () => ({ principal: { user: 'ada', groups }, until: soon() }),
      authorizer: {
        decide: ({ groups: now }, { namespace = '' }) => {
          return { isAllowed: now.includes(`${namespace}-team`), until: soon() }
        },
      },
    }
    const checkpoints = { ...watched.changes.checkpoints, namespaces: shopAlone }
    await openReader(await startApp({ access, checkpoints }))
    await watched.begun
    groups = []
    await expect.poll(() => watched.count(), { timeout: 10_000 }).toBe(0)
  })

  it('sends a heartbeat, and keeps a reader that takes it', async () => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
    onTestFinished(() => void vi.useRealTimers())
    const watched = watching()
    const reader = await openReader(await startApp(watched.changes))
    await watched.begun
    for (const beats of [1, 2, 3, 4]) {
      vi.advanceTimersByTime(HEARTBEAT_MS)
      await expect.poll(() => reader.text().match(/^:$/gm)?.length).toBe(beats)
    }
    expect(reader.events()).toEqual([])
    expect(watched.count()).toBe(1)
    reader.socket.destroy()
    await expect.poll(() => watched.count()).toBe(0)
    expect(vi.getTimerCount()).toBe(0)
  })

  it('lets a reader that falls behind lose events, and tells it so when it has caught up', async () => {
    const watched = watching()
    const reader = await openReader(await startApp(watched.changes))
    await watched.begun
    reader.socket.pause()
    await flood(watched)
    reader.socket.resume()
    await expect.poll(() => reader.events().at(-1)?.event, { timeout: 10_000 }).toBe('resync')
    const events = reader.events()
    expect(events.length).toBeLessThan(FLOOD)
    expect(events.at(-1)).toEqual({ id: String(FLOOD), event: 'resync', data: {} })
    // What it got before is without a gap.
    expect(events.slice(0, -1).map(({ id }) => id)).toEqual(events.slice(0, -1).map((_, index) => String(index + 1)))

    watched.send({ id: 'later', type: 'removed', checkpointId: 'a' })
    await expect.poll(() => reader.events().at(-1)?.id).toBe('later')
  })

  it('keeps no more than two megabytes for a reader that falls behind', async () => {
    const watched = watching()
    const app = testApp(watched.changes)
    const answers: ServerResponse[] = []
    const port = await listen(
      createServer((req, res) => {
        answers.push(res)
        app(req, res)
      }),
    )
    const reader = await openReader(port)
    await watched.begun
    reader.socket.pause()
    await flood(watched)
    const waiting = answers[0]?.writableLength ?? 0
    expect(waiting).toBeGreaterThan(2 * 1024 * 1024)
    expect(waiting).toBeLessThan(2 * 1024 * 1024 + 10_000)
  })

  it('cuts off a reader that does not read', async () => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
    onTestFinished(() => void vi.useRealTimers())
    const watched = watching()
    const reader = await openReader(await startApp(watched.changes))
    await watched.begun
    reader.socket.pause()
    await flood(watched)
    vi.advanceTimersByTime(HEARTBEAT_MS)
    await turns()
    expect(watched.count()).toBe(1)
    vi.advanceTimersByTime(HEARTBEAT_MS)
    await expect.poll(() => watched.count()).toBe(0)
    expect(vi.getTimerCount()).toBe(0)
    // Whoever still sends an event does no harm.
    watched.sendToAll({ id: 'x', type: 'resync' })
    await turns()
  })

  it('ends whole when the agent ends, and begins no more', async () => {
    const ending = new AbortController()
    const watched = watching()
    const listeners = await openListeners(testApp({ ...watched.changes, ending: ending.signal }), {
      address: '127.0.0.1:0',
      socket: '',
      logger: silentLogger,
    })
    const port = listeners.tcp?.port ?? 0
    const reader = await openReader(port)
    await watched.begun
    watched.send({ id: '1', type: 'resync' })
    await expect.poll(() => reader.events()).toHaveLength(1)
    ending.abort()
    // Its end is on the way, and it is still subscribed.
    watched.send({ id: '2', type: 'resync' })
    await expect.poll(() => reader.text()).toMatch(/\r\n0\r\n\r\n$/)
    await expect.poll(() => watched.count()).toBe(0)
    watched.sendToAll({ id: '3', type: 'resync' })

    const late = await rawRequest(port, { method: 'GET', path: '/v1/watch' })
    expect(JSON.parse(late.body)).toMatchObject({ status: 503, code: 'ShuttingDown' })
    const began = performance.now()
    await listeners.close(60_000)
    expect(performance.now() - began).toBeLessThan(5_000)
  })

  it('lets go of a reader that does not read when the listeners close', async () => {
    const ending = new AbortController()
    const watched = watching()
    const listeners = await openListeners(testApp({ ...watched.changes, ending: ending.signal }), {
      address: '127.0.0.1:0',
      socket: '',
      logger: silentLogger,
    })
    const reader = await openReader(listeners.tcp?.port ?? 0)
    await watched.begun
    reader.socket.pause()
    await flood(watched)
    ending.abort()
    await listeners.close(100)
    await expect.poll(() => watched.count()).toBe(0)
  })

  it('answers HEAD at once, and watches nothing', async () => {
    const answer = await rawRequest(await startApp(), { method: 'HEAD', path: '/v1/watch' })
    expect(answer).toMatchObject({ status: 200, body: '' })
    expect(answer.headers['content-type']).toBe('text/event-stream; charset=utf-8')
  })

  it('passes on why it cannot watch', async () => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
    onTestFinished(() => void vi.useRealTimers())
    const answer = await call({ checkpoints: { watch: refusing } }, 'GET /v1/watch')
    expect(answer.body).toMatchObject({ status: 503, code: 'X' })
    await expect.poll(() => vi.getTimerCount()).toBe(0)
  })

  it('takes no parameter but the namespace', async () => {
    const answer = await call({}, 'GET /v1/watch?pod=web-0')
    expect(answer.body).toMatchObject({ status: 400, code: 'InvalidRequest' })
  })

  it('knows no other method', async () => {
    const answer = await rawRequest(await startApp(), { method: 'POST', path: '/v1/watch' })
    expect(answer).toMatchObject({ status: 405 })
    expect(answer.headers['allow']).toBe('GET, HEAD')
  })
})

const refusing: CheckpointServices['watch'] = () => {
  throw new UnavailableError('Cannot watch: too many do', { code: 'X' })
}

/** Some 20 MB: more than the kernel takes for a loopback connection whose other end does not read. */
const FLOOD = 15_000

async function flood(watched: ReturnType<typeof watching>): Promise<void> {
  for (let id = 1; id <= FLOOD; id += 1) {
    watched.send({ id: String(id), type: 'changed', checkpoint: checkpoint() })
    if (id % 100 === 0) await turns(1)
  }
}

async function turns(count = 20): Promise<void> {
  for (let turn = 0; turn < count; turn += 1) await new Promise((resolve) => setImmediate(resolve))
}

function soon() {
  return Date.now() + 150
}

function shopAlone() {
  return ['shop']
}

/** A source of events that knows who listens. */
function watching() {
  const listeners = new Set<(event: NodeEvent) => void>()
  const everybody = new Set<(event: NodeEvent) => void>()
  const begun = Promise.withResolvers<void>()
  const watch: CheckpointServices['watch'] = (_lastEventId, onEvent) => {
    listeners.add(onEvent)
    everybody.add(onEvent)
    begun.resolve()
    return () => void listeners.delete(onEvent)
  }
  const changes: ServiceChanges = { checkpoints: { watch } }
  const sendTo = (targets: typeof listeners) => (event: NodeEvent) => {
    for (const onEvent of targets) onEvent(event)
  }
  return {
    changes,
    begun: begun.promise,
    count: () => listeners.size,
    send: sendTo(listeners),
    /** Those who have left too. */
    sendToAll: sendTo(everybody),
  }
}

interface Reader {
  readonly socket: Socket
  readonly text: () => string
  readonly events: () => { readonly id: string; readonly event: string; readonly data: unknown }[]
}

async function openReader(port: number, headers: Readonly<Record<string, string>> = {}): Promise<Reader> {
  const chunks: Buffer[] = []
  const socket = connect(port, '127.0.0.1')
  onTestFinished(() => void socket.destroy())
  await new Promise((resolve) => socket.once('connect', resolve))
  socket.on('data', (chunk: Buffer) => chunks.push(chunk))
  socket.on('error', () => undefined)
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`)
  socket.write(`GET /v1/watch HTTP/1.1\r\nHost: x\r\n${lines.join('')}\r\n`)
  const text = () => Buffer.concat(chunks).toString()
  return { socket, text, events: () => parseEvents(unchunk(text())) }
}

/** The body as far as it has come. */
function unchunk(answer: string): string {
  let rest = answer.slice(answer.indexOf('\r\n\r\n') + 4)
  let body = ''
  for (;;) {
    const [size = ''] = rest.split('\r\n', 1)
    const length = Number.parseInt(size, 16)
    if (size === '' || length === 0 || Number.isNaN(length)) return body
    body += rest.slice(size.length + 2, size.length + 2 + length)
    rest = rest.slice(size.length + 2 + length + 2)
  }
}

function parseEvents(body: string) {
  return body
    .split('\n\n')
    .slice(0, -1)
    .filter((block) => block !== ':')
    .map((block) => {
      const [, id = '', event = '', data = ''] = /^id: (.*)\nevent: (.*)\ndata: (.*)$/.exec(block) ?? []
      return { id, event, data: JSON.parse(data) as unknown }
    })
}
