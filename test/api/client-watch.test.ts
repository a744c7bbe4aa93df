import { describe, expect, it } from 'vitest'
import { readLines } from '../../src/api/byte-lines.ts'
import { ApiClient } from '../../src/api/client.ts'
import { readEvents } from '../../src/api/event-stream.ts'
import type { WatchEvent } from '../../src/api/watch-stream.ts'
import type { NodeEvent } from '../../src/checkpoint/node-event.ts'
import { checkpoint, job, startApp, type ServiceChanges } from '../http/http-services.ts'
import { startClient } from './client-server.ts'

/** What a stream sends before it ends; `fail` breaks the connection instead, and `hang` keeps it open. */
type Stream = readonly string[]

const GONE = (id: string) => `id: ${id}\nevent: removed\ndata: {"id":"x","state":"gone"}\n\n`

describe('watch', () => {
  it('shows what happens', async () => {
    const events: readonly NodeEvent[] = [
      { id: '1', type: 'added', checkpoint: checkpoint() },
      { id: '2', type: 'removed', checkpointId: 'b' },
      { id: '3', type: 'capture', job: job({ id: 'j' }) },
      { id: '4', type: 'resync' },
    ]
    const client = await startClient(watching((_, send) => events.forEach(send)))
    expect(await take(client.watch(), 4)).toMatchObject([
      { type: 'added', eventId: '1', checkpoint: { id: checkpoint().id, state: 'ready' } },
      { type: 'removed', eventId: '2', checkpointId: 'b' },
      { type: 'capture', eventId: '3', job: { id: 'j' } },
      { type: 'resync', eventId: '4' },
    ])
  })

  it('goes on after the last event when the agent starts anew', async () => {
    const ending = new AbortController()
    const port = await startApp({
      ...watching((_, send) => send({ id: 'a-1', type: 'removed', checkpointId: 'x' })),
      ending: ending.signal,
    })
    const asked: (string | undefined)[] = []
    const later = await startApp(
      watching((lastEventId, send) => {
        asked.push(lastEventId)
        send({ id: 'a-2', type: 'removed', checkpointId: 'y' })
      }),
    )
    let isRestarted = false
    const client = new ApiClient({
      baseUrl: 'http://127.0.0.1',
      fetch: async (url, init) => {
        return await fetch(url.replace('127.0.0.1', `127.0.0.1:${isRestarted ? later : port}`), init)
      },
    })
    const events = client.watch({}, { reconnectAfterMs: 1 })
    expect(await events.next()).toMatchObject({ value: { eventId: 'a-1' } })
    isRestarted = true
    ending.abort()
    expect(await events.next()).toMatchObject({ value: { eventId: 'a-2', checkpointId: 'y' } })
    expect(asked).toEqual(['a-1'])
    await events.return()
  })

  it('ends the connection when its consumer stops', async () => {
    let readers = 0
    const client = await startClient({
      checkpoints: {
        namespaces: () => [],
        watch: (_, onEvent) => {
          readers += 1
          onEvent({ id: '1', type: 'resync' })
          return () => {
            readers -= 1
          }
        },
      },
    })
    for await (const { type } of client.watch()) {
      expect([type, readers]).toEqual(['resync', 1])
      break
    }
    await expect.poll(() => readers).toBe(0)
  })

  it('begins where it is told, and shows one namespace', async () => {
    const { client, requests } = streaming([[GONE('8')]])
    await take(client.watch({ namespace: 'shop' }, { lastEventId: '7' }), 1)
    expect(requests).toEqual([{ url: '/v1/watch?namespace=shop', lastEventId: '7' }])
  })

  it.each([
    { name: 'ends', first: [GONE('1')] },
    { name: 'breaks', first: [GONE('1'), 'fail'] },
    { name: 'ends inside an event', first: [GONE('1'), 'id: 2\nevent: removed\n'] },
  ] satisfies { name: string; first: Stream }[])('connects again when the stream $name', async ({ first }) => {
    const { client, requests } = streaming([first, [GONE('2')]])
    const events = await take(client.watch({}, { reconnectAfterMs: 1 }), 2)
    expect(events.map(({ eventId }) => eventId)).toEqual(['1', '2'])
    expect(requests.map(({ lastEventId }) => lastEventId)).toEqual([undefined, '1'])
  })

  it('asks for the list again where nothing says what was missed', async () => {
    const { client } = streaming([[], [GONE('1')]])
    expect(await take(client.watch({}, { reconnectAfterMs: 1 }), 2)).toEqual([
      { type: 'resync' },
      { type: 'removed', eventId: '1', checkpointId: 'x' },
    ])
  })

  it('connects again when the stream has been silent for too long', async () => {
    const { client } = streaming([[GONE('1'), 'hang'], [GONE('2')]])
    const events = await take(client.watch({}, { reconnectAfterMs: 1, silenceMs: 50 }), 2)
    expect(events.map(({ eventId }) => eventId)).toEqual(['1', '2'])
  })

  it('takes a heartbeat for a sign of life', async () => {
    const beats = Array.from({ length: 10 }, () => ':\n\n')
    const { client, requests } = streaming([[...beats, GONE('1')]], { pauseMs: 20 })
    expect(await take(client.watch({}, { silenceMs: 100 }), 1)).toMatchObject([{ eventId: '1' }])
    expect(requests).toHaveLength(1)
  })

  it.each([429, 502, 503, 504])('tries again after a status of %j', async (status) => {
    const { client } = streaming([[GONE('1')], status, [GONE('2')]])
    expect(await take(client.watch({}, { reconnectAfterMs: 1 }), 2)).toHaveLength(2)
  })

  it.each([401, 403, 500])('throws a status of %j', async (status) => {
    const { client } = streaming([[GONE('1')], status, [GONE('2')]])
    await expect(take(client.watch({}, { reconnectAfterMs: 1 }), 2)).rejects.toMatchObject({ status })
  })

  it('throws what keeps it from connecting for the first time', async () => {
    const { client } = streaming([503, [GONE('1')]])
    await expect(take(client.watch({}, { reconnectAfterMs: 1 }), 1)).rejects.toMatchObject({ status: 503 })
    const nobody = new ApiClient({
      baseUrl: '',
      fetch: async () => {
        throw new TypeError('fetch failed')
      },
    })
    await expect(nobody.watch().next()).rejects.toThrow('fetch failed')
  })

  it('ends with the stream where it is not to connect again', async () => {
    const { client, requests } = streaming([[GONE('1')], [GONE('2')]])
    expect(await Array.fromAsync(client.watch({}, { reconnect: false }))).toHaveLength(1)
    expect(requests).toHaveLength(1)
  })

  it.each([
    { name: 'while it waits for an event', streams: [[GONE('1'), 'hang']] },
    { name: 'while it waits to connect again', streams: [[GONE('1')], [GONE('2')]] },
  ] satisfies { name: string; streams: Stream[] }[])('throws the reason of its signal $name', async ({ streams }) => {
    const { client, requests } = streaming(streams)
    const caller = new AbortController()
    const events = client.watch({}, { signal: caller.signal, reconnectAfterMs: 60_000 })
    await events.next()
    const next = events.next()
    setTimeout(() => caller.abort(new Error('enough')), 20)
    await expect(next).rejects.toThrow('enough')
    expect(requests).toHaveLength(1)
  })

  it('passes over types of events that were added later, and refuses data of another shape', async () => {
    const { client } = streaming([
      ['id: 1\nevent: renamed\ndata: {}\n\n', GONE('2'), 'id: 3\nevent: removed\ndata: 1\n\n'],
    ])
    const events = client.watch()
    expect(await events.next()).toMatchObject({ value: { eventId: '2' } })
    await expect(events.next()).rejects.toThrow('Cannot read an event of type "removed"')
  })
})

describe('readEvents', () => {
  it.each([
    { name: 'lines of data', text: 'data: a\ndata: b\n\n', events: [{ id: undefined, type: 'message', data: 'a\nb' }] },
    { name: 'no space', text: 'id:1\nevent:x\ndata:y\n\n', events: [{ id: '1', type: 'x', data: 'y' }] },
    { name: 'one space', text: 'data:  y\n\n', events: [{ id: undefined, type: 'message', data: ' y' }] },
    { name: 'CRLF', text: 'id: 1\r\ndata: y\r\n\r\n', events: [{ id: '1', type: 'message', data: 'y' }] },
    { name: 'comments and unknown fields', text: ':x\nretry: 9\ncolour: red\n\n', events: [] },
    { name: 'no data', text: 'event: x\n\ndata: y\n\n', events: [{ id: undefined, type: 'message', data: 'y' }] },
    { name: 'a field without a colon', text: 'data\n\n', events: [{ id: undefined, type: 'message', data: '' }] },
    { name: 'no end', text: 'data: y\n', events: [] },
    {
      name: 'an id that stays',
      text: 'id: 1\ndata: a\n\ndata: b\n\nid: \0\ndata: c\n\n',
      events: ['a', 'b', 'c'].map((data) => ({ id: '1', type: 'message', data })),
    },
  ])('reads $name', async ({ text, events }) => {
    expect(await Array.fromAsync(readEvents(readLines(chunksOf(text))))).toEqual(events)
  })
})

it('readEvents refuses an event without an end', async () => {
  const line = `data: ${'x'.repeat(1024 * 1024)}`
  const endless = (async function* () {
    for (let count = 0; count < 17; count += 1) yield line
  })()
  await expect(Array.fromAsync(readEvents(endless))).rejects.toThrow('larger than')
})

async function* chunksOf(text: string): AsyncGenerator<Uint8Array> {
  yield new TextEncoder().encode(text)
}

function watching(begin: (lastEventId: string | undefined, send: (event: NodeEvent) => void) => void): ServiceChanges {
  return {
    checkpoints: {
      namespaces: () => [],
      watch: (lastEventId, onEvent) => {
        begin(lastEventId, onEvent)
        return () => {}
      },
    },
  }
}

/** A client whose server answers each request with the next of these streams, or with a status. */
function streaming(answers: readonly (Stream | number)[], { pauseMs = 0 } = {}) {
  const requests: { readonly url: string; readonly lastEventId: string | undefined }[] = []
  const left = [...answers]
  const client = new ApiClient({
    baseUrl: '',
    fetch: async (url, { headers, signal }) => {
      requests.push({ url, lastEventId: (headers as Record<string, string>)['Last-Event-ID'] })
      const answer = left.shift()
      if (answer === undefined) throw new Error('nobody expected another request')
      if (typeof answer === 'number') return new Response('', { status: answer })
      return new Response(bodyOf(answer, signal ?? undefined, pauseMs))
    },
  })
  return { client, requests }
}

function bodyOf(parts: Stream, signal: AbortSignal | undefined, pauseMs: number): ReadableStream<Uint8Array> {
  const left = [...parts]
  return new ReadableStream({
    start: (controller) => {
      signal?.addEventListener('abort', () => controller.error(signal.reason))
    },
    pull: async (controller) => {
      await new Promise((resolve) => setTimeout(resolve, pauseMs))
      const part = left.shift()
      if (part === undefined) controller.close()
      else if (part === 'fail') controller.error(new TypeError('terminated'))
      else if (part === 'hang') await new Promise(() => {})
      else controller.enqueue(new TextEncoder().encode(part))
    },
  })
}

async function take(events: AsyncGenerator<WatchEvent>, count: number): Promise<readonly WatchEvent[]> {
  const taken: WatchEvent[] = []
  for await (const event of events) {
    taken.push(event)
    if (taken.length === count) break
  }
  return taken
}
