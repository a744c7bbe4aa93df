import { connect } from 'node:net'
import { describe, expect, it } from 'vitest'
import type { CaptureJob } from '../../src/checkpoint/capture-job.ts'
import type { CaptureRequest, CaptureServices } from '../../src/http/capture-services.ts'
import { ConflictError, NotFoundError, UnavailableError } from '../../src/shared/errors.ts'
import { call, type ApiCall } from './api-call.ts'
import { readPages } from '../../src/api/pages.ts'
import { startClient } from '../api/client-server.ts'
import { capture, counter, job, startApp, succeeded } from './http-services.ts'

const body = { namespace: 'shop', pod: 'web-node-a', container: 'counter' }
const json = { 'content-type': 'application/json' }
const queued = job()
/** Of the test's own connection. */
const anonymous: unknown = {
  user: 'system:anonymous',
  groups: [],
  address: expect.any(String),
  requestId: expect.any(String),
}
const done = job({ captures: [succeeded] })

describe('POST /v1/captures', () => {
  it('answers at once with the job and where it is', async () => {
    const asked: CaptureRequest[] = []
    const answer = await post({ request: async (request) => (asked.push(request), queued) }, { body })
    expect(answer.status).toBe(202)
    expect(answer.headers['location']).toBe(`/v1/captures/${queued.id}`)
    expect(answer.headers).not.toHaveProperty('preference-applied')
    expect(answer.body).toEqual({
      id: queued.id,
      state: 'queued',
      identity: counter,
      pin: false,
      requestedBy: 'system:anonymous',
      queuedAt: '2026-11-20T21:34:07.123Z',
      bytesWritten: 0,
      phases: [],
      checkpoints: [],
    })
    expect(asked).toEqual([{ ...body, requestedBy: 'system:anonymous', actor: anonymous }])
  })

  it('passes on every field of the request', async () => {
    const asked: CaptureRequest[] = []
    const full = { ...body, podUid: 'u', reason: 'because', pin: true }
    await post({ request: async (request) => (asked.push(request), queued) }, { body: { ...full, timeoutSeconds: 5 } })
    expect(asked).toEqual([{ ...full, requestedBy: 'system:anonymous', actor: anonymous }])
  })

  it('answers with the checkpoint to a caller that waits', async () => {
    const answer = await post(finishing(done), { body }, '?wait=true')
    expect(answer.status).toBe(201)
    expect(answer.body).toEqual({
      items: [
        {
          id: '9f2c4e5a7b1d3c60',
          node: 'node-a',
          fileName: 'checkpoint-web-node-a_shop-counter-2026-11-20T21:34:08Z.tar',
          state: 'discovered',
          problems: [],
          identity: { ...counter, source: 'observed' },
          takenAt: '2026-11-20T21:34:08.000Z',
          sizeBytes: 264_704,
        },
      ],
      job: done.id,
    })
  })

  it('says of a whole pod that it is not consistent', async () => {
    const answer = await post(finishing({ ...done, wholePod: true }), { body }, '?wait=true')
    expect(answer.body).toMatchObject({ consistent: false, job: done.id })
  })

  it.each([
    { name: 'no limit', query: '?wait=true', prefer: undefined, timeoutSeconds: undefined, timeoutMs: undefined },
    { name: 'its own timeout', query: '?wait=true', prefer: undefined, timeoutSeconds: 1, timeoutMs: 1000 },
    { name: 'no time at all', query: '?wait=true', prefer: undefined, timeoutSeconds: 0, timeoutMs: 0 },
    { name: 'the preference', query: '', prefer: 'wait=7', timeoutSeconds: undefined, timeoutMs: 7000 },
    { name: 'the shorter one, the timeout', query: '', prefer: 'wait=7', timeoutSeconds: 3, timeoutMs: 3000 },
    {
      name: 'the shorter one, the preference',
      query: '?wait=true',
      prefer: 'wait=7',
      timeoutSeconds: 30,
      timeoutMs: 7000,
    },
    {
      name: 'a preference among others',
      query: '',
      prefer: 'respond-async, Wait = "9"; x=1',
      timeoutSeconds: undefined,
      timeoutMs: 9000,
    },
  ])('waits for $name', async ({ query, prefer, timeoutSeconds, timeoutMs }) => {
    const waits: (number | undefined)[] = []
    const answer = await post(
      { request: async () => queued, wait: async (_id, options) => (waits.push(options.timeoutMs), queued) },
      { headers: prefer === undefined ? {} : { prefer }, body: { ...body, timeoutSeconds } },
      query,
    )
    expect(waits).toEqual([timeoutMs])
    expect(answer.status).toBe(202)
    expect(answer.body).toMatchObject({ id: queued.id, state: 'queued' })
    expect(answer.headers['location']).toBe(`/v1/captures/${queued.id}`)
    const wait = /\d+/.exec(prefer ?? '')?.[0]
    expect(answer.headers['preference-applied']).toBe(wait === undefined ? undefined : `wait=${wait}`)
  })

  it.each([
    { name: 'no wish to wait', query: '', prefer: '' },
    { name: 'a preference that is no number', query: '', prefer: 'wait=soon' },
    { name: 'another preference', query: '', prefer: 'respond-async' },
    { name: 'an explicit no', query: '?wait=false', prefer: 'wait=10' },
  ])('does not wait with $name', async ({ query, prefer }) => {
    const answer = await post({ request: async () => queued }, { headers: { prefer }, body }, query)
    expect(answer.status).toBe(202)
    expect(answer.headers).not.toHaveProperty('preference-applied')
  })

  it.each([
    { code: 'TcpEstablished', status: 500 },
    { code: 'CriuMissing', status: 500 },
    { code: 'Unclassified', status: 500 },
    { code: 'CheckpointNotImplemented', status: 501 },
    { code: 'RuntimeUnavailable', status: 503 },
    { code: 'ContainerNotRunning', status: 409 },
    { code: 'ContainerPaused', status: 409 },
    { code: 'FreezeUnknown', status: 503 },
    { code: 'DiskFull', status: 507 },
    { code: 'DiskFloor', status: 507 },
  ])('answers $status when the capture failed with $code', async ({ code, status }) => {
    const failure = { code, detail: 'Cannot do it', hint: 'Try', runtimeMessage: 'criu failed', kubeletText: 'hidden' }
    const failed = job({ captures: [capture({ state: 'failed', failure })] })
    const answer = await post(finishing(failed), { body }, '?wait=true')
    expect(answer.status).toBe(status)
    expect(answer.body).toMatchObject({
      type: `urn:checkpoint-agent:problem:${code}`,
      code,
      detail: 'Cannot do it',
      hint: 'Try',
      runtimeMessage: 'criu failed',
      job: failed.id,
      container: 'counter',
      checkpoints: [],
    })
    expect(answer.text).not.toContain('hidden')
  })

  it('names what a pod has left when one of its containers failed', async () => {
    const failed = capture({ state: 'failed', failure: { code: 'TcpEstablished', detail: 'no' } })
    const answer = await post(finishing(job({ wholePod: true, captures: [succeeded, failed] })), { body }, '?wait=true')
    expect(answer.body).toMatchObject({ status: 500, code: 'TcpEstablished', checkpoints: ['9f2c4e5a7b1d3c60'] })
  })

  it.each([
    { state: 'cancelled' as const, status: 409, code: 'CaptureCancelled' },
    { state: 'unknown-outcome' as const, status: 500, code: 'UnknownOutcome' },
  ])('answers $status when the capture ended as $state', async ({ state, status, code }) => {
    const answer = await post(finishing(job({ captures: [capture({ state })] })), { body }, '?wait=true')
    expect(answer.body).toMatchObject({ status, code, job: queued.id })
  })

  it('names the job that is in the way', async () => {
    const error = new ConflictError('Cannot capture "shop/web-node-a/counter": a capture of it is in flight', {
      code: 'CaptureInFlight',
      extra: { job: 'other' },
    })
    const answer = await post({ request: () => Promise.reject(error) }, { body })
    expect(answer.body).toMatchObject({ status: 409, code: 'CaptureInFlight', job: 'other' })
  })

  it('says when to come again while the queue is full', async () => {
    const error = new UnavailableError('Cannot queue the capture: 64 are waiting', { code: 'QueueFull' })
    const answer = await post({ request: () => Promise.reject(error) }, { body })
    expect(answer.status).toBe(503)
    expect(Number(answer.headers['retry-after'])).toBeGreaterThan(0)
  })

  it('ends the wait of a caller that leaves', async () => {
    const signal = Promise.withResolvers<AbortSignal>()
    const left = Promise.withResolvers<void>()
    const port = await startApp({
      captures: {
        request: async () => queued,
        wait: (_id, options) =>
          new Promise((resolve) => {
            options.signal?.addEventListener('abort', () => {
              left.resolve()
              resolve(queued)
            })
            if (options.signal !== undefined) signal.resolve(options.signal)
          }),
      },
    })
    const text = JSON.stringify(body)
    const caller = connect(port, '127.0.0.1')
    caller.write(
      `POST /v1/captures?wait=true HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: ${String(text.length)}\r\n\r\n${text}`,
    )
    expect((await signal.promise).aborted).toBe(false)
    caller.destroy()
    await left.promise
  })

  it.each([
    {
      name: 'unknown fields, all of them',
      body: { ...body, contianer: 'x', timeout: 5 },
      detail:
        'Cannot read the request body: "contianer" is not a field of this request; "timeout" is not a field of this request',
    },
    {
      name: 'missing and wrong fields at once',
      body: { namespace: '', container: 3, timeoutSeconds: 1.5, pin: 'yes' },
      detail:
        'Cannot read the request body: "namespace" must not be empty; "pod" is missing; "container" must be a string; ' +
        '"timeoutSeconds" must be a whole number; "pin" must be a boolean',
    },
    {
      name: 'a timeout below zero',
      body: { ...body, timeoutSeconds: -1 },
      detail: 'Cannot read the request body: "timeoutSeconds" must be at least 0',
    },
    {
      name: 'a name that is too long',
      body: { ...body, pod: 'x'.repeat(1025) },
      detail: 'Cannot read the request body: "pod" must be at most 1024 characters',
    },
    {
      name: 'a field whose name turns text around',
      body: { ...body, 'a\u202eb\n': 1 },
      detail: 'Cannot read the request body: "a\\u{202e}b\\x0a" is not a field of this request',
    },
    { name: 'an array', body: [], detail: 'Cannot read the request body: it must be a JSON object' },
    { name: 'a number', body: '7', detail: 'Cannot read the request body: it must be a JSON object' },
    { name: 'no JSON', body: '{"namespace":', detail: 'Cannot read the request body: it is not JSON' },
  ])('refuses $name', async ({ body: wrong, detail }) => {
    const answer = await post({}, { body: wrong })
    expect(answer.body).toMatchObject({ status: 400, code: 'InvalidRequest', detail })
  })

  it('lists the wrong fields for programs', async () => {
    const answer = await post({}, { body: { ...body, contianer: 'x' } })
    expect(answer.body).toMatchObject({
      problems: [{ in: 'body', name: 'contianer', reason: 'is not a field of this request' }],
    })
  })

  it.each([
    {
      query: '?wiat=true&x=1',
      detail:
        'Cannot read the request query: "wiat" is not a parameter of this route; "x" is not a parameter of this route',
    },
    { query: '?wait=yes', detail: 'Cannot read the request query: "wait" must be "true" or "false"' },
    { query: '?wait=true&wait=false', detail: 'Cannot read the request query: "wait" must be given once' },
    { query: '?wait=%zz', detail: 'Cannot read the request query: "%zz" is no percent-encoded UTF-8' },
    { query: '?__proto__=1', detail: 'Cannot read the request query: "__proto__" is not a parameter of this route' },
  ])('refuses the query $query', async ({ query, detail }) => {
    const answer = await post({}, { body }, query)
    expect(answer.body).toMatchObject({ status: 400, code: 'InvalidRequest', detail })
  })

  it.each([
    {
      name: 'a form',
      headers: { 'content-type': 'application/x-www-form-urlencoded' },
      code: 'UnsupportedMediaType',
      status: 415,
    },
    { name: 'plain text', headers: { 'content-type': 'text/plain' }, code: 'UnsupportedMediaType', status: 415 },
    {
      name: 'a compressed body',
      headers: { ...json, 'content-encoding': 'gzip' },
      code: 'UnsupportedMediaType',
      status: 415,
    },
    {
      name: 'another character set',
      headers: { 'content-type': 'application/json; charset=latin1' },
      code: 'UnsupportedMediaType',
      status: 415,
    },
  ])('refuses $name', async ({ headers, code, status }) => {
    const answer = await post({}, { headers, body: JSON.stringify(body) })
    expect(answer.body).toMatchObject({ status, code })
  })

  it('refuses a body that is too large', async () => {
    const answer = await post({}, { body: { ...body, reason: 'x'.repeat(70_000) } })
    expect(answer.body).toMatchObject({ status: 413, code: 'BodyTooLarge' })
  })

  it('refuses a request without a body', async () => {
    const answer = await call({}, 'POST /v1/captures')
    expect(answer.body).toMatchObject({ status: 415, code: 'UnsupportedMediaType' })
  })
})

describe('GET /v1/captures', () => {
  it('pages newest first, by the last job of the page before', async () => {
    const jobs = ['05', '04', '03', '02', '01'].map((id) => job({ id }))
    const list: CaptureServices['list'] = ({ limit, before }) => {
      const rest = before === undefined ? jobs : jobs.filter(({ id }) => id < before)
      return { jobs: rest.slice(0, limit), remaining: Math.max(0, rest.length - limit) }
    }
    const client = await startClient({ captures: { list } })
    const pages = await Array.fromAsync(readPages((token) => client.listCaptures({ limit: 2, continue: token })))
    expect(pages.flatMap(({ items }) => items.map(({ id }) => id))).toEqual(['05', '04', '03', '02', '01'])
    expect(pages.map(({ remaining }) => remaining)).toEqual([3, 1, 0])
    for (const { continue: token } of pages.slice(0, -1)) expect(token).toMatch(/^[A-Za-z0-9_-]+$/)
  })

  it('gives 100 jobs where no limit is named', async () => {
    const limits: number[] = []
    const list: CaptureServices['list'] = ({ limit }) => (limits.push(limit), { jobs: [], remaining: 0 })
    const answer = await call({ captures: { list } }, 'GET /v1/captures')
    expect(answer.body).toEqual({ items: [], remaining: 0 })
    expect(limits).toEqual([100])
  })

  it.each(['limit=0', 'limit=1001', 'limit=x', 'limit=1.5', 'limit=', 'continue=x', 'continue=e30', 'page=2'])(
    'refuses %s',
    async (query) => {
      const answer = await call({}, `GET /v1/captures?${query}`)
      expect(answer.body).toMatchObject({ status: 400, code: 'InvalidRequest' })
      expect((answer.body as { detail: string }).detail).toContain(`"${query.split('=', 1)[0] ?? ''}"`)
    },
  )
})

describe('GET /v1/captures/{id}', () => {
  it('shows a job that ended, absent fields left out', async () => {
    const answer = await call({ captures: { get: () => done } }, `GET /v1/captures/${done.id}`)
    expect(answer.body).toEqual({
      id: done.id,
      state: 'succeeded',
      identity: counter,
      pin: false,
      requestedBy: 'system:anonymous',
      queuedAt: '2026-11-20T21:34:07.123Z',
      startedAt: '2026-11-20T21:34:08.000Z',
      finishedAt: '2026-11-20T21:34:09.500Z',
      bytesWritten: 264_704,
      phases: [
        { name: 'admission', startedAt: '2026-11-20T21:34:07.123Z', millis: 4 },
        { name: 'dump', startedAt: '2026-11-20T21:34:08.000Z', millis: 1200.5 },
      ],
      checkpoints: ['9f2c4e5a7b1d3c60'],
    })
  })

  it('shows the containers of a whole pod one by one', async () => {
    const other = { ...counter, container: 'other', containerId: 'o' }
    const running = capture({
      identity: other,
      state: 'running',
      startedAt: new Date('2026-11-20T21:34:10Z'),
      bytesWritten: 5,
    })
    const pod = job({ wholePod: true, reason: 'why', captures: [succeeded, running] })
    const answer = await call({ captures: { get: () => pod } }, `GET /v1/captures/${pod.id}`)
    const { namespace, pod: name, podUid } = counter
    expect(answer.body).toMatchObject({
      state: 'running',
      identity: { namespace, pod: name, podUid },
      reason: 'why',
      startedAt: '2026-11-20T21:34:08.000Z',
      bytesWritten: 264_709,
      consistent: false,
      checkpoints: ['9f2c4e5a7b1d3c60'],
      containers: [
        { identity: counter, state: 'succeeded', checkpoint: '9f2c4e5a7b1d3c60' },
        { identity: other, state: 'running', bytesWritten: 5, phases: [] },
      ],
    })
    expect(answer.body).not.toHaveProperty('finishedAt')
    expect(answer.body).not.toHaveProperty('phases')
    expect((answer.body as { identity: object }).identity).not.toHaveProperty('container')
  })

  it('shows why a capture failed, and not what only the kubelet says', async () => {
    const failure = { code: 'TcpEstablished', detail: 'd', hint: 'h', runtimeMessage: 'r', kubeletText: 'k' }
    const failed = job({ captures: [capture({ state: 'failed', failure })] })
    const answer = await call({ captures: { get: () => failed } }, `GET /v1/captures/${failed.id}`)
    expect((answer.body as { error: object }).error).toEqual({
      code: 'TcpEstablished',
      detail: 'd',
      hint: 'h',
      runtimeMessage: 'r',
    })
  })

  it('knows no other job', async () => {
    const asked: string[] = []
    const get = (id: string): CaptureJob => {
      asked.push(id)
      throw new NotFoundError(`Cannot find capture job "${id}"`, { code: 'CaptureNotFound' })
    }
    const answer = await call({ captures: { get } }, 'GET /v1/captures/a%2Fb')
    expect(answer.body).toMatchObject({ status: 404, code: 'CaptureNotFound' })
    expect(asked).toEqual(['a/b'])
  })

  it('refuses a path that is no UTF-8', async () => {
    const answer = await call({}, 'GET /v1/captures/%ff')
    expect(answer.body).toMatchObject({ status: 400, code: 'InvalidRequest' })
  })
})

describe('DELETE /v1/captures/{id}', () => {
  it('answers with the job as it ended', async () => {
    const cancelled = job({ captures: [capture({ state: 'cancelled', finishedAt: new Date('2026-11-20T21:35:00Z') })] })
    const asked: string[] = []
    const answer = await call(
      { captures: { get: () => queued, cancel: async (id) => (asked.push(id), cancelled) } },
      `DELETE /v1/captures/${queued.id}`,
    )
    expect(answer.status).toBe(200)
    expect(answer.body).toMatchObject({ state: 'cancelled', finishedAt: '2026-11-20T21:35:00.000Z' })
    expect(asked).toEqual([queued.id])
  })

  it('refuses when the job is over', async () => {
    const error = new ConflictError('Cannot cancel it: it has ended', { code: 'CaptureFinished' })
    const captures = { get: () => queued, cancel: () => Promise.reject(error) }
    const answer = await call({ captures }, `DELETE /v1/captures/${queued.id}`)
    expect(answer.body).toMatchObject({ status: 409, code: 'CaptureFinished' })
  })
})

function post(captures: Partial<CaptureServices>, { headers = {}, body: sent }: ApiCall, query = '') {
  return call({ captures }, `POST /v1/captures${query}`, { headers: { ...json, ...headers }, body: sent })
}

function finishing(final: CaptureJob): Partial<CaptureServices> {
  return { request: async () => queued, wait: async () => final }
}
