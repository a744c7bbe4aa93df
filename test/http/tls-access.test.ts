import { once } from 'node:events'
import type { IncomingMessage } from 'node:http'
import { Agent, request } from 'node:https'
import { text } from 'node:stream/consumers'
import { setTimeout as delay } from 'node:timers/promises'
import { connect, type TLSSocket } from 'node:tls'
import type { NodeEvent } from '../../src/checkpoint/node-event.ts'
import { describe, expect, it, onTestFinished } from 'vitest'
import { openAccess } from '../../src/access/access.ts'
import { openListeners } from '../../src/http/listeners.ts'
import { selfSignedCertificate } from '../../src/http/self-signed-certificate.ts'
import { systemClock } from '../../src/shared/clock.ts'
import { silentLogger } from '../../src/shared/logger.ts'
import { authoritiesOf, TestApiServer } from '../support/api-server.ts'
import { TestAuthority, type MadeCertificate } from '../support/certificate-maker.ts'
import { checkpoint, counter, job, recordingLogger, testApp } from './http-services.ts'
import { OURS, serve, THEIRS } from './role-services.ts'
import { temporaryFolder } from './temporary-folder.ts'

describe('the TLS port', () => {
  it('takes a token, a certificate, and the word of a front proxy', async () => {
    const { server, clients, proxies, who } = await open()
    server.tokens.set('good', { username: 'ada', groups: ['shop'] })
    expect(await who({ headers: { authorization: 'Bearer good' } })).toMatchObject({ user: 'ada', groups: ['shop'] })
    const certificate = await clients.issue({ subject: 'CN=grace, O=one, O=two' })
    expect(await who({ certificate })).toMatchObject({ user: 'grace', groups: ['one', 'two', 'system:authenticated'] })
    const proxy = await proxies.issue({ subject: 'CN=front-proxy-client' })
    const headers = { 'X-Remote-User': 'zoë', 'X-Remote-Group': ['a', 'b, c'], 'X-Remote-Extra-Id': '1' }
    expect(await who({ certificate: proxy, headers: utf8(headers) })).toMatchObject({
      user: 'zoë',
      groups: ['a', 'b, c', 'system:authenticated'],
    })
  })

  it('answers everybody else with 401, whatever certificate they show', async () => {
    const { clients, proxies, ask } = await open()
    const other = await TestAuthority.make({ subject: 'CN=kubernetes-clients' })
    const headers = { 'X-Remote-User': 'admin', 'X-Remote-Group': 'system:masters' }
    const expired = { subject: 'CN=grace', notAfter: new Date(Date.now() - 1000) }
    for (const call of [
      {},
      { headers },
      { headers: { authorization: 'Bearer wrong' } },
      { certificate: await other.issue({ subject: 'CN=grace' }) },
      { certificate: await other.issue({ subject: 'CN=front-proxy-client' }), headers },
      { certificate: await clients.issue(expired) },
      { certificate: await proxies.issue({ subject: 'CN=somebody' }), headers },
    ]) {
      const answer = await ask('/v1/node', call)
      expect(answer.status).toBe(401)
      expect(JSON.parse(answer.body)).toMatchObject({ code: 'Unauthenticated' })
      expect(answer.body).not.toMatch(/\/tmp|127\.0\.0\.1|\.ts:/)
    }
    expect((await ask('/healthz')).status).toBe(200)
  })

  it('takes a certificate with one between it and the authority', async () => {
    const { clients, who } = await open()
    const between = await TestAuthority.make({ subject: 'CN=between' }, clients)
    expect(await who({ certificate: await between.issue({ subject: 'CN=grace' }) })).toMatchObject({ user: 'grace' })
  })

  it('follows a change of the authority without a restart, on open connections too', async () => {
    const { server, access, clients, ask } = await open()
    const certificate = await clients.issue({ subject: 'CN=grace' })
    const agent = new Agent({ keepAlive: true, maxSockets: 1 })
    onTestFinished(() => agent.destroy())
    expect((await ask('/v1/node', { certificate, agent })).status).toBe(200)
    const next = await TestAuthority.make({ subject: 'CN=next' })
    server.configMap = { ...server.configMap, 'client-ca-file': next.certificate }
    await access.refresh()
    expect((await ask('/v1/node', { certificate, agent })).status).toBe(401)
    expect((await ask('/v1/node', { certificate: await next.issue({ subject: 'CN=grace' }) })).status).toBe(200)
  })

  it('has a caller whose certificate was refused connect again when the authorities have changed', async () => {
    const { server, access, ask } = await open()
    const next = await TestAuthority.make({ subject: 'CN=next' })
    const certificate = await next.issue({ subject: 'CN=grace' })
    const agent = new Agent({ keepAlive: true, maxSockets: 1 })
    onTestFinished(() => agent.destroy())
    const statuses = [(await ask('/v1/node', { certificate, agent })).status]
    server.configMap = { ...server.configMap, 'client-ca-file': next.certificate }
    await access.refresh()
    for (let call = 0; call < 2; call += 1) statuses.push((await ask('/v1/node', { certificate, agent })).status)
    expect(statuses).toEqual([401, 401, 200])
  })

  it('renegotiates nothing: a certificate is not exchanged behind the verdict on it', async () => {
    const { port, clients } = await open()
    const { key, certificate: cert } = await clients.issue({ subject: 'CN=grace' })
    const socket = connect({ host: '127.0.0.1', port, key, cert, rejectUnauthorized: false, maxVersion: 'TLSv1.2' })
    await once(socket, 'secureConnect')
    const outcome = await new Promise<string>((resolve) => {
      socket.on('error', () => resolve('refused'))
      socket.renegotiate({ rejectUnauthorized: false }, (error) => resolve(error === null ? 'done' : 'refused'))
    })
    socket.destroy()
    expect(outcome).toBe('refused')
  })

  it.each(['TLSv1.2', 'TLSv1.3'] as const)(
    'resumes no session of %s: a certificate is proven each time',
    async (version) => {
      const { port, clients } = await open()
      const { key, certificate: cert } = await clients.issue({ subject: 'CN=grace' })
      const options = {
        host: '127.0.0.1',
        port,
        key,
        cert,
        rejectUnauthorized: false,
        minVersion: version,
        maxVersion: version,
      }
      const first = connect(options)
      const sessions: Buffer[] = []
      first.on('session', (session: Buffer) => sessions.push(session))
      await talk(first)
      const session = sessions.at(-1) ?? first.getSession()
      const second = connect({ ...options, ...(session !== undefined && { session }) })
      let isReused: boolean | undefined
      second.once('secureConnect', () => {
        isReused = second.isSessionReused()
      })
      await talk(second)
      expect(isReused).toBe(false)
    },
  )

  it('takes 401 to 403 when it is known who asks, and 200 when a Role says so', async () => {
    const { server, ask } = await open()
    const headers = { authorization: 'Bearer good' }
    expect((await ask('/v1/checkpoints?namespace=shop', { headers })).status).toBe(401)
    server.tokens.set('good-2', { username: 'ada' })
    const known = { authorization: 'Bearer good-2' }
    expect((await ask('/v1/checkpoints?namespace=shop', { headers: known })).status).toBe(403)
    server.grants.push({ to: 'ada', namespace: 'shop', verbs: ['list'], resources: ['checkpoints'] })
    await delay(TTL_MS)
    const answer = await ask('/v1/checkpoints', { headers: known })
    expect((JSON.parse(answer.body) as { items: { id: string }[] }).items.map(({ id }) => id)).toEqual([OURS])
  })

  it('says 503 while the API server is gone or stopped, and recovers by itself', async () => {
    const { server, ask } = await open()
    server.tokens.set('good', { username: 'ada' })
    server.grants.push({ to: 'ada', verbs: ['list'], resources: ['checkpoints'] })
    const headers = { authorization: 'Bearer good' }
    expect((await ask('/v1/checkpoints', { headers })).status).toBe(200)
    await server.refuseConnections()
    await delay(TTL_MS)
    const answer = await ask('/v1/checkpoints', { headers })
    expect(answer.status).toBe(503)
    expect(JSON.parse(answer.body)).toMatchObject({ code: 'AuthorizationUnavailable' })
    expect(answer.body).not.toMatch(/127\.0\.0\.1|ECONN|\/tmp/)
    await server.useNewCertificate()
    expect((await ask('/v1/checkpoints', { headers })).status).toBe(200)
  })

  it('names the caller in the log and in what is recorded', async () => {
    const actors: unknown[] = []
    const { server, logger, ask } = await open({ onCapture: (actor) => actors.push(actor) })
    server.tokens.set('good', { username: 'ada', groups: ['ops'] })
    server.grants.push({ to: 'ada', verbs: ['create'], resources: ['checkpoints'] })
    const headers = { authorization: 'Bearer good', 'content-type': 'application/json', 'x-request-id': 'r-1' }
    const body = '{"namespace":"shop","pod":"web-0"}'
    expect((await ask('/v1/captures', { method: 'POST', headers, body })).status).toBe(202)
    expect(actors).toEqual([{ user: 'ada', groups: ['ops'], address: '127.0.0.1', requestId: 'r-1' }])
    await expect
      .poll(() => logger.lines.find(({ message }) => message === 'Answered'))
      .toMatchObject({
        fields: { caller: 'ada', requestId: 'r-1', status: 202 },
      })
    expect(JSON.stringify(logger.lines)).not.toContain('good')
  })
})

describe('a stream', () => {
  it('of events shows what the caller may see, and ends when that is nothing any more', async () => {
    const { server, emit, start } = await open()
    server.tokens.set('good', { username: 'ada' })
    server.grants.push({ to: 'ada', namespace: 'shop', verbs: ['list'], resources: ['checkpoints'] })
    const response = await start('/v1/watch', { headers: { authorization: 'Bearer good' } })
    expect(response.statusCode).toBe(200)
    const theirs = { ...counter, namespace: 'bank', source: 'archive', isTrusted: true } as const
    emit({ id: '1', type: 'added', checkpoint: checkpoint({ id: THEIRS, identity: theirs }) })
    emit({ id: '2', type: 'added', checkpoint: checkpoint() })
    emit({
      id: '3',
      type: 'added',
      checkpoint: checkpoint({ identity: { ...theirs, namespace: 'shop', isTrusted: false } }),
    })
    emit({ id: '4', type: 'removed', checkpointId: THEIRS, namespace: 'bank' })
    emit({ id: '5', type: 'removed', checkpointId: OURS, namespace: 'shop' })
    emit({ id: '6', type: 'removed', checkpointId: 'of nobody' })
    emit({ id: '7', type: 'resync' })
    server.grants.length = 0
    const seen = await text(response)
    expect([...seen.matchAll(/^id: (\d)$/gm)].map(([, id]) => id)).toEqual(['2', '5', '7'])
  })

  it('of events ends when the token is not good any more', async () => {
    const { server, start } = await open()
    server.tokens.set('good', { username: 'ada' })
    server.grants.push({ to: 'ada', verbs: ['list'], resources: ['*'] })
    const response = await start('/v1/watch', { headers: { authorization: 'Bearer good' } })
    server.tokens.clear()
    expect(await text(response)).toBe('')
  })

  it.each(['the permission', 'the API server', 'nothing'])('of content is cut when %s is gone', async (what) => {
    const { server, start } = await open()
    server.tokens.set('good', { username: 'ada' })
    server.grants.push({ to: 'ada', namespace: 'shop', verbs: ['get'], resources: ['checkpoints/proxy'] })
    const response = await start(`/v1/checkpoints/${OURS}/archive`, { headers: { authorization: 'Bearer good' } })
    expect(response.statusCode).toBe(200)
    if (what === 'the permission') server.grants.length = 0
    if (what === 'the API server') await server.refuseConnections()
    const outcome = await text(response).then(
      () => 'whole',
      () => 'cut',
    )
    expect(outcome).toBe(what === 'nothing' ? 'whole' : 'cut')
  })
})

const TTL_MS = 300

interface Call {
  readonly method?: string
  readonly headers?: Readonly<Record<string, string | string[]>>
  readonly certificate?: MadeCertificate
  readonly agent?: Agent
  readonly body?: string
}

async function open({ onCapture }: { onCapture?: (actor: unknown) => void } = {}) {
  const server = await TestApiServer.start()
  const clients = await TestAuthority.make({ subject: 'CN=kubernetes-clients' })
  const proxies = await TestAuthority.make({ subject: 'CN=kubernetes-proxies' })
  server.configMap = authoritiesOf(clients, proxies)
  const logger = recordingLogger()
  const access = await openAccess({
    mode: 'kubernetes',
    api: server.api,
    audiences: [],
    tokenTtlMs: TTL_MS,
    allowTtlMs: TTL_MS,
    denyTtlMs: TTL_MS,
    clientCaFile: undefined,
    clusterCertificates: true,
    clock: systemClock,
    logger: silentLogger,
  })
  await access.refresh()
  const watchers: ((event: NodeEvent) => void)[] = []
  const services = serve()
  const pair = await selfSignedCertificate({ directory: temporaryFolder(), nodeName: 'node-a', clock: systemClock })
  const app = testApp(
    {
      ...services,
      access,
      checkpoints: { ...services.checkpoints, watch: (_, onEvent) => (watchers.push(onEvent), () => {}) },
      captures: {
        ...services.captures,
        request: async (order) => {
          onCapture?.(order.actor)
          return job()
        },
      },
      contents: {
        openArchive: async () => ({
          sizeBytes: 2,
          generation: checkpoint().generation,
          recipients: [],
          send: async ({ start }) => {
            const sink = start()
            await sink.write(Buffer.from('a'))
            await delay(TTL_MS * 3)
            await sink.write(Buffer.from('b'))
            await sink.end()
          },
          close: async () => {},
        }),
      },
    },
    logger,
  )
  const listeners = await openListeners(app, {
    address: '127.0.0.1:0',
    socket: '',
    certificate: {
      current: () => pair,
      fingerprint: () => '',
      onChange: () => {},
      refresh: async () => {},
      stop: () => {},
    },
    ...(access.clientAuthorities !== undefined && { clientAuthorities: access.clientAuthorities }),
    logger: silentLogger,
  })
  onTestFinished(async () => {
    access.stop()
    await listeners.close(0)
    await server[Symbol.asyncDispose]()
  })
  const port = listeners.tcp?.port ?? 0
  const start = (path: string, call: Call = {}) => send(port, path, call)
  const ask = async (path: string, call: Call = {}) => {
    const response = await start(path, call)
    return { status: response.statusCode, body: await text(response) }
  }
  const who = async (call: Call) => JSON.parse((await ask('/v1/access', call)).body) as { user: string }
  const emit = (event: NodeEvent) => {
    for (const watcher of watchers) watcher(event)
  }
  return { server, access, clients, proxies, logger, port, start, ask, who, emit }
}

function send(port: number, path: string, { method = 'GET', headers, certificate, agent, body }: Call) {
  return new Promise<IncomingMessage>((resolve, reject) => {
    const call = request(
      {
        host: '127.0.0.1',
        port,
        path,
        method,
        rejectUnauthorized: false,
        agent: agent ?? false,
        ...(headers !== undefined && { headers }),
        ...(certificate !== undefined && { key: certificate.key, cert: certificate.certificate }),
      },
      resolve,
    )
    call.on('error', reject)
    call.end(body)
  })
}

/** As a proxy written in Go puts them on the wire. */
function utf8(headers: Readonly<Record<string, string | string[]>>): Record<string, string | string[]> {
  return Object.fromEntries(
    Object.entries(headers).map(([name, value]) => [
      name,
      typeof value === 'string' ? latin1(value) : value.map(latin1),
    ]),
  )
}

async function talk(socket: TLSSocket): Promise<void> {
  socket.write('GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n')
  await text(socket)
}

function latin1(value: string): string {
  return Buffer.from(value).toString('latin1')
}
