import { describe, expect, it } from 'vitest'
import { ApiError, ProblemError, TextError, UnexpectedAnswerError } from '../../src/api/api-error.ts'
import { ApiClient } from '../../src/api/client.ts'
import { ConflictError, NotFoundError, UnavailableError } from '../../src/shared/errors.ts'
import { checkpoint } from '../http/http-services.ts'
import { OURS, ROLES, accessOf } from '../http/role-services.ts'
import { startClient } from './client-server.ts'

const container = { namespace: 'shop', pod: 'web-node-a', container: 'counter' }

describe('the errors of ApiClient', () => {
  it('have the code, the status, the detail, the hint and the id of the request', async () => {
    const client = await startClient({
      checkpoints: {
        get: () => {
          throw new NotFoundError('Cannot find "x"', { code: 'CheckpointNotFound', hint: 'List them.' })
        },
      },
    })
    const error = await failureOf(client.getCheckpoint('x'))
    expect(error).toBeInstanceOf(ProblemError)
    expect(error).toMatchObject({
      name: 'ProblemError',
      status: 404,
      code: 'CheckpointNotFound',
      message: 'Cannot find "x"',
      hint: 'List them.',
      extra: {},
      retryAfterSeconds: undefined,
    })
    expect(error).toHaveProperty('requestId', expect.stringMatching(/^[\w.-]+$/))
  })

  it("have the fields of their code, and the runtime's own text", async () => {
    const client = await startClient({
      captures: {
        request: async () => {
          const details = { code: 'CaptureInFlight', extra: { job: '01K' }, runtimeMessage: 'busy' }
          throw new ConflictError('Cannot take it', details)
        },
      },
    })
    expect(await failureOf(client.createCapture(container))).toMatchObject({
      status: 409,
      code: 'CaptureInFlight',
      runtimeMessage: 'busy',
      extra: { job: '01K' },
    })
  })

  it('name everything that is wrong with a request', async () => {
    const client = await startClient()
    expect(await failureOf(client.listCheckpoints({ limit: 0, minBytes: -1 }))).toMatchObject({
      status: 400,
      code: 'InvalidRequest',
      extra: { problems: [{ name: 'minBytes' }, { name: 'limit' }] },
    })
  })

  it('name the permission that is missing, and what a token is for', async () => {
    const services = { access: accessOf(ROLES), checkpoints: { get: () => checkpoint() } }
    const error = await failureOf((await startClient(services, { token: 'nobody' })).getCheckpoint(OURS))
    expect(error).toMatchObject({
      status: 403,
      code: 'Forbidden',
      missingPermission: { verb: 'get', group: 'checkpoint-agent.dev', resource: 'checkpoints' },
    })
    expect(await failureOf((await startClient(services)).getCheckpoint(OURS))).toMatchObject({
      status: 401,
      code: 'Unauthenticated',
    })
  })

  it('say when to try again', async () => {
    const client = await startClient({
      captures: {
        request: async () => {
          throw new UnavailableError('Cannot take it', { code: 'QueueFull' })
        },
      },
    })
    expect(await failureOf(client.createCapture(container))).toMatchObject({
      status: 503,
      code: 'QueueFull',
      retryAfterSeconds: 30,
    })
  })

  it('read a date of Retry-After too, and nothing else', async () => {
    const inTenSeconds = new Date(Date.now() + 10_000).toUTCString()
    const waits = await Promise.all(
      [inTenSeconds, 'Thu, 01 Jan 1970 00:00:00 GMT', 'soon'].map(async (value) => {
        const headers = { 'retry-after': value, 'content-type': 'text/html' }
        const error = await failureOf(answering(new Response('busy', { status: 503, headers })).getNode())
        return error instanceof ApiError ? error.retryAfterSeconds : error
      }),
    )
    expect(waits[0]).toBeGreaterThan(8)
    expect(waits[0]).toBeLessThanOrEqual(11)
    expect(waits.slice(1)).toEqual([0, undefined])
  })

  it("are the kubelet's text for its endpoint", async () => {
    const client = await startClient()
    const error = await failureOf(client.kubeletCheckpoint({ ...container, container: 'crash' }))
    expect(error).toBeInstanceOf(TextError)
    expect(error).toMatchObject({
      status: 500,
      message: expect.stringContaining('container crash not found') as string,
    })
  })

  it.each([
    { name: 'a page of a proxy', body: '<h1>Bad gateway</h1>', status: 502, type: 'text/html' },
    { name: 'a problem without a code', body: '{"status":500}', status: 500, type: 'application/problem+json' },
    { name: 'a success without JSON', body: 'fine', status: 200, type: 'application/json' },
    { name: 'a success of another shape', body: '{"node":1}', status: 200, type: 'application/json' },
    { name: 'a success that the operation does not promise', body: '{}', status: 204 + 2, type: 'application/json' },
  ])('say that an answer is not of this API: $name', async ({ body, status, type }) => {
    const response = new Response(body, { status, headers: { 'content-type': type, 'x-request-id': 'r1' } })
    const error = await failureOf(answering(response).getNode())
    expect(error).toBeInstanceOf(UnexpectedAnswerError)
    expect(error).toMatchObject({ status, requestId: 'r1', message: expect.stringMatching(/^Cannot /) as string })
  })

  it('quote no more than the beginning of it', async () => {
    const error = await failureOf(answering(new Response('x'.repeat(10_000), { status: 502 })).getNode())
    expect((error as Error).message.length).toBeLessThan(500)
  })

  it.each([200, 502])('end the reading of an answer that is too large, of status %j', async (status) => {
    let sent = 0
    const endless = new ReadableStream<Uint8Array>({
      pull: (controller) => {
        sent += 1024
        controller.enqueue(new Uint8Array(1024))
      },
    })
    const client = new ApiClient({
      baseUrl: '',
      maxAnswerBytes: 10_000,
      fetch: async () => new Response(endless, { status }),
    })
    await expect(client.getNode()).rejects.toThrow('larger than 10000 bytes')
    expect(sent).toBeLessThan(20_000)
  })

  it('are no errors where the operation describes the body of a failure', async () => {
    const checks = [{ name: 'runtime', state: 'failed' as const, reason: 'it does not answer', hint: 'Start it.' }]
    const client = await startClient({ health: { isAlive: () => false, checks: () => checks } })
    expect(await client.getHealth()).toEqual({ status: 'failed' })
    expect(await client.getReadiness({ verbose: true })).toEqual({ status: 'failed', checks })
  })
})

/** A client whose server always gives this answer. */
function answering(response: Response): ApiClient {
  return new ApiClient({ baseUrl: 'http://agent.test', fetch: async () => response })
}

async function failureOf(call: Promise<unknown>): Promise<unknown> {
  return await call.then(
    () => {
      throw new Error('the call succeeded')
    },
    (error: unknown) => error,
  )
}
