import { connect } from 'node:net'
import { describe, expect, it } from 'vitest'
import { httpServices, recordingLogger, startApp, webPodKubelet } from './http-services.ts'
import { rawRequest } from './raw-request.ts'

describe('requestLog', () => {
  it.each(['abc', 'A.b_c-1', 'x'.repeat(64)])("takes the caller's id %s", async (id) => {
    const answer = await rawRequest(await startApp(), {
      method: 'GET',
      path: '/healthz',
      headers: [['X-Request-Id', id]],
    })
    expect(answer.headers['x-request-id']).toBe(id)
  })

  it.each(['', 'x'.repeat(65), 'a b', 'é', 'a,b', '<x>'])('makes one of its own instead of %j', async (id) => {
    const answer = await rawRequest(await startApp(), {
      method: 'GET',
      path: '/healthz',
      headers: [['X-Request-Id', id]],
    })
    expect(answer.headers['x-request-id']).toMatch(/^[0-9a-f-]{36}$/)
  })

  it('makes a fresh one for each request', async () => {
    const port = await startApp()
    const ids = await Promise.all(
      Array.from(
        { length: 5 },
        async () => (await rawRequest(port, { method: 'GET', path: '/healthz' })).headers['x-request-id'],
      ),
    )
    expect(new Set(ids).size).toBe(5)
  })

  it.each([
    { path: '/v1/nothing', status: 404, level: 'info' },
    { path: '/checkpoint/a', status: 404, level: 'info' },
    { path: '/healthz', status: 200, level: 'debug' },
    { path: '/readyz?verbose', status: 200, level: 'debug' },
    { path: '/healthz?x', status: 400, level: 'info' },
  ])('writes one $level line for $path', async ({ path, status, level }) => {
    const logger = recordingLogger()
    const port = await startApp({}, logger)
    await rawRequest(port, { method: 'GET', path, headers: [['X-Request-Id', 'abc']] })
    await expect.poll(() => logger.lines).toHaveLength(1)
    expect(logger.lines[0]).toMatchObject({
      level,
      message: 'Answered',
      fields: { requestId: 'abc', method: 'GET', url: path, status, caller: 'system:anonymous', address: '127.0.0.1' },
    })
  })

  it('notes a caller that left', async () => {
    const logger = recordingLogger()
    const asked = Promise.withResolvers<void>()
    const kubelet = webPodKubelet({
      checkpoint: ({ signal }) => {
        asked.resolve()
        return new Promise((resolve) => signal.addEventListener('abort', () => resolve({ error: '' })))
      },
    })
    const port = await startApp({ ...httpServices(), kubelet }, logger)
    const caller = connect(port, '127.0.0.1')
    caller.write('POST /checkpoint/shop/web-node-a/counter HTTP/1.1\r\nHost: x\r\n\r\n')
    await asked.promise
    caller.destroy()
    await expect.poll(() => logger.lines.map(({ message }) => message)).toEqual(['Caller left before the answer'])
  })

  it('keeps a very long URL out of the log', async () => {
    const logger = recordingLogger()
    const port = await startApp({}, logger)
    await rawRequest(port, { method: 'GET', path: `/${'x'.repeat(10_000)}` })
    await expect.poll(() => logger.lines).toHaveLength(1)
    expect(logger.lines[0]?.fields).toMatchObject({ url: `/${'x'.repeat(1023)}` })
  })
})
