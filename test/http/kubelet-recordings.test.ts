import { existsSync, readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { rawRequest } from './raw-request.ts'
import { ARCHIVE, startApp, webPodKubelet } from './http-services.ts'

interface Answer {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

interface Recording extends Answer {
  readonly name: string
  readonly method: string
  readonly path: string
  readonly requestHeaders: Readonly<Record<string, string>>
  readonly requestBody: string | null
}

interface Variant extends Answer {
  readonly variant: string
  readonly requests: readonly string[]
}

interface RouterRecording extends Answer {
  readonly name: string
  readonly endpoint: 'on' | 'off'
  readonly method: string
  readonly path: string
  readonly requestHeaders: readonly (readonly [string, string])[]
}

const fixtures = new URL('../fixtures/kubelet/', import.meta.url)
const shared = new URL('../../../shared/kubelet/', import.meta.url)

const recordings = read('answers-1.36.json') as Recording[]
const variants = read('variants.json') as Variant[]
const routerRecordings = read('router-answers.json') as RouterRecording[]

describe('kubeletRoutes, in front of the pod of the recordings', () => {
  it('has all 40 recordings', () => {
    expect(recordings).toHaveLength(40)
  })

  it.each(recordings)('answers "$name" as kubelet 1.36 does', async (recording) => {
    const { method, path, requestHeaders, requestBody } = recording
    const answer = await rawRequest(await startApp(), {
      method,
      path,
      headers: Object.entries(requestHeaders),
      ...(requestBody !== null && { body: requestBody }),
    })
    const body = recording.status === 200 ? `{"items":["${ARCHIVE}"]}` : recording.body
    expect(comparable(answer)).toEqual(comparable({ ...recording, body }))
  })

  it.each(routerRecordings)('answers "$name" as its router does', async (recording) => {
    const { endpoint, method, path, requestHeaders } = recording
    const port = await startApp({ kubelet: webPodKubelet({ enabled: endpoint === 'on' }) })
    const answer = await rawRequest(port, { method, path, headers: requestHeaders })
    expect(comparable(answer)).toEqual(comparable(recording))
  })
})

describe('kubeletRoutes, with other settings', () => {
  const gateOff = variant(/gate ContainerCheckpoint off/)
  it.each(gateOff.requests)('answers %j without the endpoint as a kubelet without it', async (request) => {
    const [method = '', path = ''] = request.split(' ')
    const port = await startApp({ kubelet: webPodKubelet({ enabled: false }) })
    expect(await rawRequest(port, { method, path })).toMatchObject(gateOff.answer)
  })

  it("passes on a runtime's text about missing CRIU as the kubelet does", async () => {
    const { status, headers, body } = variant(/CRIU missing/).answer
    const text = /failed \((.*)\)$/.exec(body)?.[1] ?? ''
    expect(text).toContain('CRIU binary not found')
    const port = await startApp({ kubelet: webPodKubelet({ checkpoint: async () => ({ error: text }) }) })
    const path = '/checkpoint/shop/web-node-a/counter'
    expect(await rawRequest(port, { method: 'POST', path })).toMatchObject({ status, headers, body })
  })
})

describe('the copies of the recordings', () => {
  it('equal the shared ones', (context) => {
    if (!existsSync(shared)) context.skip('there is no ../shared/kubelet beside the repository')
    for (const name of ['answers-1.36.json', 'variants.json']) {
      expect(readFileSync(new URL(name, fixtures), 'utf8')).toBe(readFileSync(new URL(name, shared), 'utf8'))
    }
  })
})

/** What a client can tell apart: the recorded headers, and those that no answer of the kubelet has. */
function comparable({ status, headers, body }: Answer): object {
  const names = [
    'allow',
    'content-length',
    'content-type',
    'etag',
    'location',
    'x-content-type-options',
    'x-powered-by',
  ]
  return { status, body, headers: Object.fromEntries(names.map((name) => [name, headers[name]])) }
}

function variant(name: RegExp): { readonly requests: readonly string[]; readonly answer: Answer } {
  const found = variants.find((candidate) => name.test(candidate.variant))
  if (found === undefined) throw new Error(`No variant is called ${String(name)}`)
  const { requests, status, headers, body } = found
  return { requests, answer: { status, headers, body } }
}

function read(name: string): unknown {
  return JSON.parse(readFileSync(new URL(name, fixtures), 'utf8'))
}
