import { describe, expect, it } from 'vitest'
import { ApiClient } from '../../src/api/client.ts'
import { expandPath, type Fetch } from '../../src/api/client-transport.ts'
import { job } from '../http/http-services.ts'
import { startClient } from './client-server.ts'

describe('expandPath', () => {
  it.each([
    ['/v1/captures/{id}', { id: '01K' }, '/v1/captures/01K'],
    ['/v1/captures/{id}', { id: 'a/b?c#d e%' }, '/v1/captures/a%2Fb%3Fc%23d%20e%25'],
    [
      '/v1/checkpoints/{id}/members/{name}',
      { id: 'x', name: 'dir/pages-1.img' },
      '/v1/checkpoints/x/members/dir/pages-1.img',
    ],
    ['/v1/checkpoints/{id}/members/{name}', { id: 'x', name: 'ä b/?' }, '/v1/checkpoints/x/members/%C3%A4%20b/%3F'],
    ['/v1/checkpoints/{id}/members/{name}', { id: 'x', name: '../../pin' }, '/v1/checkpoints/x/members/..%2F..%2Fpin'],
    ['/v1/checkpoints/{id}/members/{name}', { id: 'x', name: 'a//b' }, '/v1/checkpoints/x/members/a%2F%2Fb'],
  ])('fills in %s with %j', (template, parameters, expected) => {
    const path = expandPath(template, parameters)
    expect(path).toBe(expected)
    expect(new URL(path, 'http://agent.test').pathname).toBe(expected)
  })

  it.each(['', '.', '..'])('refuses %j: it would name another path', (id) => {
    expect(() => expandPath('/v1/captures/{id}', { id })).toThrow(TypeError)
  })
})

describe('ApiClient', () => {
  it.each([
    ['https://node-a:9443', 'https://node-a:9443/v1/captures/01K'],
    ['https://node-a:9443/', 'https://node-a:9443/v1/captures/01K'],
    ['https://cluster.test/apis/proxy//', 'https://cluster.test/apis/proxy/v1/captures/01K'],
    ['', '/v1/captures/01K'],
  ])('puts the path behind the base URL %j', async (baseUrl, expected) => {
    const { requests, fetch } = recordingFetch()
    await new ApiClient({ baseUrl, fetch }).getCapture('01K')
    expect(requests.map(({ url }) => url)).toEqual([expected])
  })

  it('sends its headers and asks for the token before each request', async () => {
    const { requests, fetch } = recordingFetch()
    const tokens = ['first', 'second']
    const client = new ApiClient({
      baseUrl: 'http://agent.test',
      headers: { 'X-Remote-User': 'ada' },
      token: async () => tokens.shift() ?? '',
      fetch,
    })
    await client.getCapture('a')
    await client.cancelCapture('a')
    expect(requests.map(({ init }) => init.headers)).toEqual([
      { 'X-Remote-User': 'ada', Authorization: 'Bearer first' },
      { 'X-Remote-User': 'ada', Authorization: 'Bearer second' },
    ])
  })

  it('leaves out parameters that are not given, and repeats those that are lists', async () => {
    const { requests, fetch } = recordingFetch()
    const client = new ApiClient({ baseUrl: '', fetch })
    await client.listCheckpoints({ namespace: 'a b&c', pod: undefined, pinned: false }).catch(() => undefined)
    await client.getCheckpointArchive('x', { recipient: ['age1a', 'age1b'] }).catch(() => undefined)
    expect(requests.map(({ url }) => url)).toEqual([
      '/v1/checkpoints?namespace=a+b%26c&pinned=false',
      '/v1/checkpoints/x/archive?recipient=age1a&recipient=age1b',
    ])
  })

  it('calls the global fetch as a function, not as a method of its own', async () => {
    const original = globalThis.fetch
    const seen: unknown[] = []
    globalThis.fetch = async function (this: unknown) {
      seen.push(this)
      return Response.json(SHOWN_JOB)
    }
    try {
      await new ApiClient({ baseUrl: 'http://agent.test' }).getCapture('a')
    } finally {
      globalThis.fetch = original
    }
    expect(seen).toEqual([undefined])
  })

  it('keeps fields that a later version of the agent has added', async () => {
    const shown = { ...SHOWN_JOB, addedLater: 1 }
    const client = new ApiClient({ baseUrl: '', fetch: async () => Response.json(shown) })
    expect(await client.getCapture('a')).toHaveProperty('addedLater', 1)
  })

  it('throws the reason of the signal, and leaves', async () => {
    const { promise: left, resolve: leave } = Promise.withResolvers<void>()
    const { promise: waiting, resolve: begin } = Promise.withResolvers<void>()
    const client = await startClient({
      captures: {
        request: async () => job(),
        wait: async (_id, { signal }) => {
          begin()
          signal?.addEventListener('abort', () => leave())
          await left
          return job()
        },
      },
    })
    const caller = new AbortController()
    const call = client.createCapture({ namespace: 'shop', pod: 'web' }, { wait: true, signal: caller.signal })
    await waiting
    caller.abort(new Error('enough'))
    await expect(call).rejects.toThrow('enough')
    await left
  })

  it('sends nothing once the signal has aborted', async () => {
    const client = await startClient()
    await expect(client.getNode({ signal: AbortSignal.abort(new Error('enough')) })).rejects.toThrow('enough')
  })

  it('says whether a capture has ended, and how long it was to wait', async () => {
    const preferences: (number | undefined)[] = []
    const client = await startClient({
      captures: {
        request: async () => job(),
        wait: async (_id, { timeoutMs }) => {
          preferences.push(timeoutMs)
          return job()
        },
      },
    })
    const answer = await client.createCapture({ namespace: 'shop', pod: 'web' }, { waitSeconds: 7 })
    expect(answer).toMatchObject({ status: 202, job: { id: job().id, state: 'queued' } })
    expect(preferences).toEqual([7000])
  })
})

const SHOWN_JOB = {
  id: '01K',
  state: 'queued',
  identity: { namespace: 'shop', pod: 'web', podUid: 'u' },
  pin: false,
  requestedBy: 'ada',
  queuedAt: '2026-11-20T21:34:07.123Z',
  bytesWritten: 0,
  checkpoints: [],
}

function recordingFetch() {
  const requests: { readonly url: string; readonly init: RequestInit }[] = []
  const fetch: Fetch = async (url, init) => {
    requests.push({ url, init })
    return Response.json(SHOWN_JOB)
  }
  return { requests, fetch }
}
