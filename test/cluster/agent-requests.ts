import { readFileSync } from 'node:fs'
import { LONG_CONTAINER, LONG_POD } from './agent-pods.ts'
import { headerFields, malformedRequests, queries } from './agent-request-details.ts'
import { POD, RUNNING, request, type ComparedRequest, type Recorded, type RequestParts } from './agent-request.ts'

export const REQUESTS: readonly ComparedRequest[] = [
  ...recorded(),
  ...recordedOfTheRouter(),
  ...methods(),
  ...paths(),
  ...names(),
  ...queries(),
  ...headerFields(),
  ...containers(),
  ...malformedRequests(),
]

interface Recording extends Recorded {
  readonly name: string
  readonly endpoint?: 'on' | 'off'
  readonly method: string
  readonly path: string
  readonly requestHeaders: Readonly<Record<string, string>> | readonly (readonly [string, string])[]
  readonly requestBody?: string | null
}

function recorded(): ComparedRequest[] {
  return readFixture('answers-1.36.json').map(({ status, headers: answered, body, ...recording }) => ({
    ...fromRecording('recorded', recording),
    recorded: { status, headers: answered, body },
  }))
}

function recordedOfTheRouter(): ComparedRequest[] {
  return (
    readFixture('router-answers.json')
      .filter(({ endpoint }) => endpoint === 'on')
      // Both are asked anew, and the agent in mode `none` knows loopback names only.
      .map((recording) => ({ ...recording, path: recording.path.replace(/^http:\/\/[^/]+/, 'http://localhost') }))
      .map((recording) => fromRecording('router', recording))
  )
}

function methods(): ComparedRequest[] {
  return [
    ...['PATCH', 'OPTIONS', 'TRACE', 'PROPFIND', 'QUERY', 'SEARCH', 'M-SEARCH'].flatMap((method) => [
      request(`method ${method}`, RUNNING, { method }),
      request(`method ${method}, unclean path`, '/checkpoint//x', { method }),
    ]),
    ...['GET', 'HEAD', 'DELETE', 'OPTIONS'].flatMap((method) => [
      request(`method ${method} of the root`, '/checkpoint/', { method }),
      request(`method ${method} without a slash`, '/checkpoint?a=b', { method }),
    ]),
    unknownMethod('SEAL', RUNNING, '405 405: Method Not Allowed'),
    unknownMethod('post', RUNNING, '405 405: Method Not Allowed'),
    unknownMethod('CONNECT', RUNNING, '405 405: Method Not Allowed'),
    unknownMethod('SEAL', '/checkpoint//x', '307 '),
    request('method of a header', RUNNING, { method: 'GET', headers: ['X-HTTP-Method-Override: POST'] }),
  ]
}

function unknownMethod(method: string, path: string, kubelet: string): ComparedRequest {
  const differs = { in: 'methods', kubelet, agent: '400 InvalidRequest' } as const
  return request(`method ${method} of ${path}`, path, { method, differs })
}

function paths(): ComparedRequest[] {
  const clean = [
    `${RUNNING}/./`,
    '/./checkpoint/shop',
    '///checkpoint///shop///web',
    '/checkpoint/...',
    '/checkpoint/../checkpoint',
    '/checkpoint/../../..',
    '/checkpoint/..;/x/y',
    '/checkpoint/%2e',
    '/checkpoint/%2e%2e/%2e%2e/etc',
    '/checkpoint/shop/%2E%2E/web-node-NODE/counter',
    '/checkpoint/%252e%252e/x/y',
    '/checkpoint//a%2fb',
    '/checkpoint//a%20b?x=%20y',
    '/checkpoint//%ff',
    '/checkpoint//%00',
    '/checkpoint//%0d%0aX:y',
    '/checkpoint//{x}|^`',
    '/checkpoint/#x',
    `${POD}/`,
    `${POD}//`,
    `${RUNNING}%2F/x`,
    '/checkpoint/a/b/c/d/e/f/g',
    'http://localhost/checkpoint//x',
    'HTTP://localhost/checkpoint',
  ]
  return [
    ...clean.flatMap((path) => [request(`path ${path}`, path), request(`path ${path}, GET`, path, { method: 'GET' })]),
    request('path with 30000 segments', `/checkpoint${'/x'.repeat(30_000)}`),
    request('path of 30000 bytes that is not clean', `/checkpoint//${'x'.repeat(30_000)}`),
    ...[
      '/checkpoint%2Fshop/web/x',
      '/Checkpoint/shop/web/x',
      '/checkpoints/shop/web/x',
      '/checkpointx',
      '/checkpoint\\x',
    ].map((path) =>
      request(`path ${path}`, path, {
        differs: { in: 'elsewhere', kubelet: '404 404 page not found\n', agent: '404 RouteNotFound' },
      }),
    ),
    ...['%', '%4', '%zz', 'a%2'].map((name) => request(`path with a bad escape: ${name}`, `${POD}/${name}`)),
  ]
}

function names(): ComparedRequest[] {
  const unreadable: readonly (readonly [string, string, string])[] = [
    ['%00', '\0', '\\x00'],
    ['%ff', '\ufffd', '\\xff'],
    ['%1b%5b31m', '\x1b[31m', '\\x1b[31m'],
    ['%0d%0aX:y', '\r\nX:y', '\\x0d\\x0aX:y'],
    ['%7f', '\x7f', '\\x7f'],
    ['%C2%85', '\x85', '\\u{85}'],
    ['%E2%80%AE', '\u202e', '\\u{202e}'],
    ['%5c', '\\', '\\\\'],
  ]
  return [
    ...unreadable.map(([escaped, kubelet, agent]) =>
      request(`name ${escaped}`, `${POD}/${escaped}`, {
        differs: {
          in: 'names',
          kubelet: `404 container ${kubelet} does not exist`,
          agent: `404 container ${agent} does not exist`,
        },
      }),
    ),
    ...['%C3%A4', '%E2%82%AC', '%F0%9F%92%A5', '%22', '%3Cb%3E', '{container}', ':c', '*', 'a%2520b', '%20counter'].map(
      (name) => request(`name ${name}`, `${POD}/${name}`),
    ),
    ...['web', 'WEB-NODE-NODE', 'web-node-NODE%20', 'web-node-OTHER', '%ff%fe', '%0a'].map((pod) =>
      request(`pod's name ${pod}`, `/checkpoint/shop/${pod}/counter`),
    ),
    ...['Shop', 'shop%20', 'default', 'kube-system'].map((namespace) =>
      request(`namespace ${namespace}`, `/checkpoint/${namespace}/web-node-NODE/counter`),
    ),
    request('name of 60000 bytes', `${POD}/${'x'.repeat(60_000)}`),
    request('name of 70000 bytes', `${POD}/${'x'.repeat(70_000)}`, {
      differs: {
        in: 'length',
        kubelet: `404 container ${'x'.repeat(70_000)} does not exist`,
        agent: '431 HeadersTooLarge',
      },
    }),
  ]
}

function containers(): ComparedRequest[] {
  const unseen = (pod: string, name: string, agent: string) => {
    const kubelet = `500 checkpointing of shop/${pod}-NODE/${name} failed (container ${name} not found)`
    return of(pod, name, { differs: { in: 'unseen', kubelet, agent } })
  }
  return [
    ...['main', 'done', 'failed', 'first', 'sidecar', 'probe', 'nope', 'MAIN'].map((name) => of('states', name)),
    unseen('states', 'absent', '404 container absent does not exist'),
    ...['first', 'nope'].map((name) => of('starting', name)),
    unseen('starting', 'main', '404 container main does not exist'),
    unseen('stuck', 'main', '404 pod does not exist'),
    ...['finished', 'leaving', 'on-the-host', 'talker', 'quiet'].map((pod) => of(pod, 'main')),
    ...['done', 'first'].map((name) =>
      request(`timeout -1 of container ${name}`, `/checkpoint/shop/states-NODE/${name}?timeout=-1`),
    ),
    of(LONG_POD, LONG_CONTAINER, {
      differs: {
        in: 'long-name',
        kubelet: `500 checkpointing of shop/${LONG_POD}-NODE/${LONG_CONTAINER} failed (rpc error: code = Unknown desc = `,
        agent: '200 {"items":["/var/lib/kubelet/checkpoints/checkpoint-long-ppp',
      },
    }),
  ]
}

function fromRecording(source: string, recording: Omit<Recording, keyof Recorded>): ComparedRequest {
  const { name, method, path, requestHeaders, requestBody } = recording
  const lines = (Array.isArray(requestHeaders) ? requestHeaders : Object.entries(requestHeaders)) as [string, string][]
  return request(`${source}: ${name}`, path, {
    method,
    headers: lines.map(([header, value]) => `${header}: ${value}`),
    ...(typeof requestBody === 'string' && { body: requestBody }),
  })
}

function readFixture(name: string): readonly Recording[] {
  const text = readFileSync(new URL(`../fixtures/kubelet/${name}`, import.meta.url), 'utf8')
  return JSON.parse(text.replaceAll('web-node-a', 'web-node-NODE')) as readonly Recording[]
}

function of(pod: string, name: string, more: Omit<RequestParts, 'method'> = {}): ComparedRequest {
  return request(`container ${name.slice(0, 10)} of ${pod.slice(0, 11)}`, `/checkpoint/shop/${pod}-NODE/${name}`, more)
}
