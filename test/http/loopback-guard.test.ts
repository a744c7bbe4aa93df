import { createHash } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { openAccess, type Access } from '../../src/access/access.ts'
import { problem } from '../../src/api/problem-schema.ts'
import { openListeners } from '../../src/http/listeners.ts'
import { operationList } from '../../src/api/operations.ts'
import { systemClock } from '../../src/shared/clock.ts'
import { silentLogger } from '../../src/shared/logger.ts'
import { sendRequest } from '../support/http-client.ts'
import { testApp } from './http-services.ts'
import { exchange, parseAnswer, type RawAnswer } from './raw-request.ts'
import { temporaryFolder } from './temporary-folder.ts'

/** Needs nobody's permission and nothing of the node, so any answer but 200 is the guard's. */
const ROUTE = '/openapi.json'

let open: Server
beforeAll(async () => {
  open = await serve(await openAccess({ mode: 'none', clock: systemClock, logger: silentLogger }))
})
afterAll(() => void open.close())

describe('without access control', () => {
  it.each([
    'localhost',
    'localhost:9443',
    'LocalHost:9443',
    '127.0.0.1',
    '127.0.0.1:1',
    '127.255.255.254:65535',
    '[::1]',
    '[::1]:9443',
    '[0:0:0:0:0:0:0:1]:9443',
  ])('the host %s is answered', async (host) => {
    expect((await ask([`Host: ${host}`])).status).toBe(200)
  })

  it.each([
    'evil.example',
    'evil.example:9443',
    'localhost.evil.example',
    '127.0.0.1.evil.example',
    '127.0.0.1.',
    'localhost.',
    'localhost.localdomain',
    'sub.localhost',
    'localhost@evil.example',
    'evil.example@localhost',
    'localhost:9443:1',
    'localhost:port',
    'localhost, evil.example',
    'localhost/evil.example',
    'localhost%2eevil.example',
    '127.1',
    '127.0.1',
    '2130706433',
    '0x7f000001',
    '0x7f.0.0.1',
    '0177.0.0.1',
    '127.0.0.01',
    '127.0.0.256',
    '0.0.0.0',
    '0',
    '128.0.0.1',
    '10.0.0.1',
    '169.254.169.254',
    '::1',
    '[::]',
    '[::2]',
    '[::1%lo]',
    '[fe80::1]',
    '[::ffff:127.0.0.1]',
    '[::ffff:10.0.0.1]',
    '[::1',
    '::1]',
    '[localhost]',
    'lоcalhost',
    '',
  ])('the host %j is refused', async (host) => {
    expect(await refusalOf(ask([`Host: ${host}`]))).toBe('ForeignHost')
  })

  it('a request of HTTP/1.0 without a host is refused, one of HTTP/1.1 is not understood', async () => {
    const port = portOf(open)
    expect(await refusalOf(exchange(port, `GET ${ROUTE} HTTP/1.0\r\n\r\n`).then(parseAnswer))).toBe('ForeignHost')
    const local = await exchange(port, `GET ${ROUTE} HTTP/1.0\r\nHost: localhost\r\n\r\n`)
    expect(parseAnswer(local).status).toBe(200)
    const none = await exchange(port, `GET ${ROUTE} HTTP/1.1\r\nConnection: close\r\n\r\n`)
    expect(parseAnswer(none)).toMatchObject({ status: 400 })
  })

  it.each([
    ['evil.example', 'localhost'],
    ['localhost', 'evil.example'],
    ['localhost', 'localhost'],
  ])('two hosts are not understood: %s and %s', async (one, other) => {
    const answer = await ask([`Host: ${one}`, `Host: ${other}`])
    expect(answer.status).toBe(400)
    expect(JSON.parse(answer.body)).toMatchObject({ code: 'InvalidRequest' })
  })

  it.each([
    { target: `http://localhost:9443${ROUTE}`, host: 'localhost:9443' },
    { target: `HTTP://127.0.0.1${ROUTE}`, host: 'localhost' },
  ])('the target $target with the host $host is answered', async ({ target, host }) => {
    expect((await ask([`Host: ${host}`], { target })).status).toBe(200)
  })

  it.each([
    { target: `http://evil.example${ROUTE}`, host: 'localhost' },
    { target: `http://localhost${ROUTE}`, host: 'evil.example' },
    { target: `http://localhost@evil.example${ROUTE}`, host: 'localhost' },
    { target: `http://evil.example?${ROUTE}`, host: 'localhost' },
    { target: `http:///evil.example${ROUTE}`, host: 'localhost' },
  ])('the target $target with the host $host is refused', async ({ target, host }) => {
    expect(await refusalOf(ask([`Host: ${host}`], { target }))).toBe('ForeignHost')
  })

  it.each([
    { headers: ['Origin: http://localhost:9443'], host: 'localhost:9443' },
    { headers: ['Origin: http://localhost:9443'], host: 'LOCALHOST:9443' },
    { headers: ['Origin: http://127.0.0.1'], host: '127.0.0.1:80' },
    { headers: ['Origin: http://[::1]:9443'], host: '[::1]:9443' },
    { headers: ['Sec-Fetch-Site: none'], host: 'localhost' },
    { headers: ['Sec-Fetch-Site: same-origin', 'Origin: http://localhost'], host: 'localhost' },
  ])('$headers for the host $host is answered', async ({ headers, host }) => {
    expect((await ask([`Host: ${host}`, ...headers])).status).toBe(200)
  })

  it.each([
    ['Origin: http://evil.example'],
    ['Origin: null'],
    ['Origin:'],
    ['Origin: localhost:9443'],
    ['Origin: http://localhost'],
    ['Origin: http://localhost:8000'],
    ['Origin: http://127.0.0.1:9443'],
    ['Origin: https://localhost:9443'],
    ['Origin: http://localhost:9443/path'],
    ['Origin: http://user@localhost:9443'],
    ['Origin: http://localhost:9443.evil.example'],
    ['Origin: chrome-extension://abcdefghijklmnopabcdefghijklmnop'],
    ['Origin: file://'],
    ['Origin: http://localhost:9443', 'Origin: http://evil.example'],
    ['Origin: http://localhost:9443, http://evil.example'],
    ['Sec-Fetch-Site: cross-site'],
    ['Sec-Fetch-Site: same-site'],
    ['Sec-Fetch-Site: '],
    ['Sec-Fetch-Site: same-origin', 'Sec-Fetch-Site: cross-site'],
    ['Sec-Fetch-Site: none, cross-site'],
    ['Origin: http://localhost:9443', 'Sec-Fetch-Site: cross-site'],
    ['Sec-Fetch-Site: same-origin', 'Origin: http://evil.example'],
  ])('a request of another origin is refused: %j', async (...headers) => {
    expect(await refusalOf(ask(['Host: localhost:9443', ...headers]))).toBe('ForeignOrigin')
  })

  it.each(operationList.filter(({ permission }) => permission.kind !== 'open'))(
    '$method $path is refused to other hosts and origins, before anything else is looked at',
    async ({ method, path }) => {
      const target = path.replaceAll(/\{\w+\}/g, 'x')
      expect(await refusalOf(ask(['Host: evil.example'], { method, target }))).toBe('ForeignHost')
      expect(await refusalOf(ask(['Host: localhost', 'Origin: null'], { method, target }))).toBe('ForeignOrigin')
    },
  )

  it.each([
    { method: 'OPTIONS', target: '/v1/captures' },
    { method: 'OPTIONS', target: '*' },
    { method: 'GET', target: '/nothing' },
    { method: 'POST', target: '/healthz' },
    { method: 'OPTIONS', target: '/healthz' },
    { method: 'GET', target: '//healthz' },
    { method: 'GET', target: '/healthz/' },
    { method: 'GET', target: '/v1/captures?/healthz' },
  ])('$method $target is refused too', async ({ method, target }) => {
    const headers = ['Host: localhost', 'Origin: http://evil.example', 'Access-Control-Request-Method: POST']
    expect(await refusalOf(ask(headers, { method, target }))).toBe('ForeignOrigin')
  })

  it.each(['/healthz', '/readyz'])('%s is open to everybody', async (target) => {
    const answer = await ask(['Host: evil.example', 'Origin: null', 'Sec-Fetch-Site: cross-site'], { target })
    expect(answer.status).toBe(200)
  })

  it('the unix socket takes any host', async () => {
    const socketPath = join(temporaryFolder(), 'agent.sock')
    const access = await openAccess({ mode: 'none', clock: systemClock, logger: silentLogger })
    const listeners = await openListeners(testApp({ access }), {
      address: '',
      socket: socketPath,
      logger: silentLogger,
    })
    onTestFinished(() => listeners.close(0))
    const answer = await sendRequest({ socketPath }, 'GET', ROUTE, { headers: { host: 'node-a', origin: 'null' } })
    expect(answer.status).toBe(200)
  })
})

describe('with access control', () => {
  it('hosts and origins are not looked at', async () => {
    const tokensFile = join(temporaryFolder(), 'tokens.yaml')
    const tokenSha256 = createHash('sha256').update('secret').digest('hex')
    writeFileSync(
      tokensFile,
      JSON.stringify({ users: [{ name: 'ada', tokenSha256, namespaces: [], permissions: [] }] }),
    )
    const access = await openAccess({ mode: 'tokens', tokensFile, clock: systemClock, logger: silentLogger })
    onTestFinished(() => access.stop())
    const server = await serve(access)
    onTestFinished(() => void server.close())
    const headers = ['Host: node-a.example', 'Origin: https://console.example', 'Sec-Fetch-Site: cross-site']
    expect((await ask(headers, { server })).status).toBe(401)
    expect((await ask([...headers, 'Authorization: Bearer secret'], { server })).status).toBe(200)
  })
})

interface Asked {
  readonly method?: string
  readonly target?: string
  readonly server?: Server
}

async function ask(headers: readonly string[], { method = 'GET', target = ROUTE, server = open }: Asked = {}) {
  const lines = [`${method.toUpperCase()} ${target} HTTP/1.1`, 'Connection: close', ...headers]
  const bytes = Buffer.from(`${lines.join('\r\n')}\r\n\r\n`).toString('latin1')
  return parseAnswer(await exchange(portOf(server), bytes))
}

async function serve(access: Access): Promise<Server> {
  const server = createServer({ requireHostHeader: false }, testApp({ access }))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return server
}

function portOf(server: Server): number {
  return (server.address() as AddressInfo).port
}

/** The code of a refusal that is as it should be. */
async function refusalOf(answer: Promise<RawAnswer>): Promise<string> {
  const { status, headers, body } = await answer
  expect(status).toBe(403)
  expect(Object.keys(headers).filter((name) => name.startsWith('access-control-'))).toEqual([])
  const { code, hint } = problem.parse(JSON.parse(body))
  expect(hint).toBeTruthy()
  return code
}
