import { createServer } from 'node:http'
import { connect } from 'node:net'
import { describe, expect, it } from 'vitest'
import { RuntimeFailureError, UnavailableError } from '../../src/shared/errors.ts'
import {
  listen,
  recordingLogger,
  startApp,
  testApp,
  webPodKubelet,
  type KubeletChanges,
  type KubeletWish,
} from './http-services.ts'
import { rawRequest, type RawAnswer } from './raw-request.ts'

const PATH = '/checkpoint/shop/web-node-a/counter'

describe('kubeletRoutes', () => {
  it('asks for the checkpoint with names, wait and caller', async () => {
    const asked: KubeletWish[] = []
    await post(`${PATH}?timeout=300`, {
      checkpoint: async (request) => {
        asked.push(request)
        return { path: '/a.tar' }
      },
    })
    expect(asked).toHaveLength(1)
    expect(asked[0]).toMatchObject({
      namespace: 'shop',
      pod: 'web-node-a',
      container: 'counter',
      timeoutMs: 300_000,
      requestedBy: 'system:anonymous',
    })
  })

  it('puts the path between the quotes as it is', async () => {
    const path = '/tmp/"x"\\é/a.tar'
    const answer = await post(PATH, { checkpoint: async () => ({ path }) })
    expect(answer.body).toBe(`{"items":["${path}"]}`)
    expect(answer.headers['content-length']).toBe(String(Buffer.byteLength(answer.body)))
  })

  it.each([
    { name: 'a byte that is no UTF-8', segment: '%ff', shown: '\\xff' },
    { name: 'an escape character', segment: '%1b[2J', shown: '\\x1b[2J' },
    { name: 'a line feed', segment: 'a%0Ab', shown: 'a\\x0ab' },
    { name: 'a NUL', segment: '%00', shown: '\\x00' },
    { name: 'a backslash', segment: '%5c', shown: '\\\\' },
    { name: 'a text turned around', segment: '%E2%80%AE', shown: '\\u{202e}' },
    { name: 'UTF-8', segment: '%C3%A9', shown: 'é' },
  ])('looks up and shows a name with $name as readable text', async ({ segment, shown }) => {
    const asked: string[][] = []
    const answer = await post(`/checkpoint/${segment}/${segment}/${segment}`, {
      lookUp: async (...names) => {
        asked.push(names)
        return 'container'
      },
    })
    expect(asked).toEqual([[shown, shown, shown]])
    expect(answer).toMatchObject({ status: 404, body: `container ${shown} does not exist` })
    expect(answer.headers['content-type']).toBe('text/plain; charset=utf-8')
  })

  it('shows readable names in the text of a failure', async () => {
    const answer = await post('/checkpoint/%ff/%0a/c', {
      lookUp: async () => 'found',
      checkpoint: async () => ({ error: 'no' }),
    })
    expect(answer).toMatchObject({ status: 500, body: 'checkpointing of \\xff/\\x0a/c failed (no)' })
  })

  it.each([
    { path: PATH, status: 500, body: 'checkpointing of shop/web-node-a/counter failed (the runtime is down)' },
    // The kubelet knows its pods by itself and reads the timeout before it asks the runtime.
    { path: `${PATH}?timeout=x`, status: 404, body: 'cannot parse value of timeout parameter' },
  ])('answers $status to $path when the runtime does not answer the look-up', async ({ path, status, body }) => {
    const error = new UnavailableError('the runtime is down', { code: 'RuntimeUnavailable' })
    expect(await post(path, { lookUp: () => Promise.reject(error) })).toMatchObject({ status, body })
  })

  it("prefers the runtime's own text", async () => {
    const error = new RuntimeFailureError('Cannot checkpoint', { code: 'Unclassified', runtimeMessage: 'rpc error: x' })
    expect(await post(PATH, { checkpoint: () => Promise.reject(error) })).toMatchObject({
      status: 500,
      body: 'checkpointing of shop/web-node-a/counter failed (rpc error: x)',
    })
  })

  it('tells nothing of a fault of its own but to the log', async () => {
    const logger = recordingLogger()
    const fault = new TypeError('secret is not a function')
    const kubelet = webPodKubelet({ checkpoint: () => Promise.reject(fault) })
    const port = await startApp({ kubelet }, logger)
    const answer = await rawRequest(port, { method: 'POST', path: PATH })
    expect(answer).toMatchObject({
      status: 500,
      body: 'checkpointing of shop/web-node-a/counter failed (internal error)',
    })
    expect(logger.lines).toContainEqual(expect.objectContaining({ level: 'error', fields: { err: fault } }))
  })

  it('ends the wait of a caller that leaves, and answers the next one', async () => {
    let left: (() => void) | undefined
    const aborted = new Promise<void>((resolve) => (left = resolve))
    let asked: (() => void) | undefined
    const begun = new Promise<void>((resolve) => (asked = resolve))
    const kubelet = webPodKubelet({
      checkpoint: ({ signal }) =>
        new Promise((resolve) => {
          signal.addEventListener('abort', () => {
            left?.()
            resolve({ error: 'rpc error: code = Canceled desc = context canceled' })
          })
          asked?.()
        }),
    })
    const port = await startApp({ kubelet })
    const caller = connect(port, '127.0.0.1')
    caller.write(`POST ${PATH} HTTP/1.1\r\nHost: x\r\n\r\n`)
    await begun
    caller.destroy()
    await aborted
    expect(await rawRequest(port, { method: 'POST', path: '/checkpoint/x' })).toMatchObject({ status: 404 })
  })

  it('takes no checkpoint for a caller that left during the look-up', async () => {
    const lookingUp = Promise.withResolvers<void>()
    const left = Promise.withResolvers<void>()
    const logger = recordingLogger()
    let asked = 0
    const kubelet = webPodKubelet({
      lookUp: async () => {
        lookingUp.resolve()
        await left.promise
        return 'found'
      },
      checkpoint: async () => ({ path: `/${String(asked++)}.tar` }),
    })
    const caller = connect(await startApp({ kubelet }, logger), '127.0.0.1')
    caller.write(`POST ${PATH} HTTP/1.1\r\nHost: x\r\n\r\n`)
    await lookingUp.promise
    caller.destroy()
    await expect.poll(() => logger.lines.length).toBe(1)
    left.resolve()
    await new Promise((resolve) => setImmediate(resolve))
    expect(asked).toBe(0)
  })

  it('reads on while it waits, so that a large body does not end the wait', async () => {
    const kubelet = webPodKubelet({
      checkpoint: () => new Promise((resolve) => setTimeout(() => resolve({ path: '/a.tar' }), 400)),
    })
    const limits = { headersTimeout: 100, requestTimeout: 100, connectionsCheckingInterval: 20 }
    const port = await listen(createServer(limits, testApp({ kubelet })))
    const answer = await rawRequest(port, { method: 'POST', path: PATH, body: 'x'.repeat(1_000_000) })
    expect(answer).toMatchObject({ status: 200, body: '{"items":["/a.tar"]}' })
  })

  it('answers a request whose body never ends being sent', async () => {
    const port = await startApp()
    const answer = await new Promise<string>((resolve) => {
      const caller = connect(port, '127.0.0.1')
      caller.write(`POST ${PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\nhalf`)
      caller.once('data', (data) => {
        caller.destroy()
        resolve(data.toString())
      })
    })
    expect(answer).toMatch(/^HTTP\/1.1 200 OK/)
  })
})

async function post(path: string, changes: KubeletChanges): Promise<RawAnswer> {
  return rawRequest(await startApp({ kubelet: webPodKubelet(changes) }), { method: 'POST', path })
}
