import type { RequestListener } from 'node:http'
import { request as plainRequest } from 'node:http'
import { request as tlsRequest } from 'node:https'
import { connect as connectPlain, type AddressInfo } from 'node:net'
import { join } from 'node:path'
import { connect, type SecureVersion } from 'node:tls'
import { describe, expect, it, onTestFinished } from 'vitest'
import { problem } from '../../src/api/problem-schema.ts'
import { callerOf } from '../../src/http/caller.ts'
import { openListeners, type ListenOptions } from '../../src/http/listeners.ts'
import { selfSignedCertificate } from '../../src/http/self-signed-certificate.ts'
import type { ServingCertificate } from '../../src/http/serving-certificate.ts'
import { systemClock } from '../../src/shared/clock.ts'
import { silentLogger } from '../../src/shared/logger.ts'
import { exchange, parseAnswer, rawRequest } from './raw-request.ts'
import { temporaryFolder } from './temporary-folder.ts'

const whoAsks: RequestListener = (req, res) => res.end(callerOf(req))

describe('openListeners', () => {
  it('answers on TCP and on the unix socket, and knows who comes from where', async () => {
    const socket = join(temporaryFolder(), 'agent.sock')
    const { port } = await open(whoAsks, { address: '127.0.0.1:0', socket })
    expect((await rawRequest(port, { method: 'GET', path: '/' })).body).toBe('system:anonymous')
    expect(await textOf(plainRequest({ socketPath: socket, path: '/' }))).toBe('system:local-root')
  })

  it.each(['[::]:0', ':0', 'localhost:0', '[::1]:0', '127.0.0.1:0'])('listens on %s', async (address) => {
    const { tcp } = await open(whoAsks, { address })
    expect(tcp.port).toBeGreaterThan(0)
  })

  it('listens on both families with [::]', async () => {
    const { port } = await open(whoAsks, { address: '[::]:0' })
    for (const host of ['127.0.0.1', '::1']) {
      expect(await textOf(plainRequest({ host, port, path: '/' }))).toBe('system:anonymous')
    }
  })

  it.each(['127.0.0.1', '::1:9443', '[::1]', '127.0.0.1:x', '127.0.0.1:65536', ''.padEnd(3, ':')])(
    'refuses the address %s',
    async (address) => {
      await expect(openListeners(whoAsks, options({ address }))).rejects.toThrow(
        `Cannot listen on "${address}": it must be "host:port" or "[IPv6 address]:port"`,
      )
    },
  )

  it('refuses a port that is taken, and keeps no other listener open', async () => {
    const { port } = await open(whoAsks, { address: '127.0.0.1:0' })
    const address = `127.0.0.1:${String(port)}`
    await expect(openListeners(whoAsks, options({ address }))).rejects.toThrow(
      `Cannot listen on "${address}": another process listens there`,
    )
  })

  it('gives back the port when the socket cannot be opened', async () => {
    const { port, listeners } = await open(whoAsks, { address: '127.0.0.1:0' })
    await listeners.close(0)
    const address = `127.0.0.1:${String(port)}`
    await expect(openListeners(whoAsks, options({ address, socket: '/proc/no/agent.sock' }))).rejects.toThrow('ENOENT')
    await open(whoAsks, { address })
  })

  it('serves TLS 1.2 and 1.3 with a certificate that a client can check, and nothing older', async () => {
    const certificate = await certificateFor('node-a')
    const { port } = await open(whoAsks, { address: '127.0.0.1:0', certificate })
    const { certificate: ca } = certificate.current()
    for (const servername of ['localhost', 'node-a']) {
      expect(await textOf(tlsRequest({ host: '127.0.0.1', port, path: '/', ca, servername }))).toBe('system:anonymous')
    }
    expect(await protocolOf(port, ca, 'TLSv1.2')).toBe('TLSv1.2')
    expect(await protocolOf(port, ca, 'TLSv1.3')).toBe('TLSv1.3')
    await expect(protocolOf(port, ca, 'TLSv1.1')).rejects.toThrow(/alert|version|unsupported/i)
  })

  it('serves a certificate that came later', async () => {
    const certificate = await certificateFor('node-a')
    const { port } = await open(whoAsks, { address: '127.0.0.1:0', certificate })
    const next = await certificateFor('node-b')
    certificate.replace(next.current())
    const ca = next.current().certificate
    expect(await textOf(tlsRequest({ host: '127.0.0.1', port, path: '/', ca, servername: 'node-b' }))).toBe(
      'system:anonymous',
    )
  })

  it('lets a request under way end when it closes, and takes no new one', async () => {
    const begun = Promise.withResolvers<void>()
    const end = Promise.withResolvers<void>()
    const { port, listeners } = await open(
      (_req, res) => {
        begun.resolve()
        void end.promise.then(() => res.end('done'))
      },
      { address: '127.0.0.1:0' },
    )
    const answer = textOf(plainRequest({ host: '127.0.0.1', port, path: '/' }))
    await begun.promise
    const closed = listeners.close(5000)
    await expect(rawRequest(port, { method: 'GET', path: '/' })).rejects.toThrow('ECONNREFUSED')
    end.resolve()
    expect(await answer).toBe('done')
    await closed
  })

  it('does not wait for a connection whose last answer had begun before it closed', async () => {
    const end = Promise.withResolvers<void>()
    const { port, listeners } = await open(
      (_req, res) => {
        res.writeHead(200, { 'content-length': 4 })
        res.flushHeaders()
        void end.promise.then(() => res.end('done'))
      },
      { address: '127.0.0.1:0' },
    )
    const socket = connectPlain(port, '127.0.0.1')
    socket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n')
    await new Promise((resolve) => socket.once('data', resolve))
    const began = performance.now()
    const closed = listeners.close(10_000)
    end.resolve()
    await closed
    expect(performance.now() - began).toBeLessThan(5_000)
    socket.destroy()
  })

  it('ends idle connections at once', async () => {
    const { port, listeners } = await open(whoAsks, { address: '127.0.0.1:0' })
    const socket = connectPlain(port, '127.0.0.1')
    socket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n')
    await new Promise((resolve) => socket.once('data', resolve))
    const ended = new Promise((resolve) => socket.once('close', resolve))
    const began = performance.now()
    await listeners.close(10_000)
    await ended
    expect(performance.now() - began).toBeLessThan(5_000)
  })

  it('cuts a request that takes longer than it may', async () => {
    const begun = Promise.withResolvers<void>()
    const { port, listeners } = await open(() => begun.resolve(), { address: '127.0.0.1:0' })
    const answer = rawRequest(port, { method: 'GET', path: '/' })
    await begun.promise
    const began = performance.now()
    await listeners.close(100)
    expect(performance.now() - began).toBeLessThan(5_000)
    expect((await answer).status).toBeNaN()
  })

  it.each([
    { name: 'what is no HTTP', bytes: 'hello\r\n\r\n', status: 400, code: 'InvalidRequest' },
    { name: 'CONNECT', bytes: 'CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n', status: 400, code: 'InvalidRequest' },
    ...['FROBNICATE', 'get', 'G\u00C4T', 'GET\u0000'].map((method) => ({
      name: `the method ${JSON.stringify(method)}`,
      bytes: `${method} / HTTP/1.1\r\nHost: x\r\n\r\n`,
      status: 400,
      code: 'InvalidRequest',
    })),
    {
      name: 'headers that are too large',
      bytes: `GET / HTTP/1.1\r\nA: ${'x'.repeat(70_000)}\r\n\r\n`,
      status: 431,
      code: 'HeadersTooLarge',
    },
  ])('answers $name as a problem', async ({ bytes, status, code }) => {
    const { port } = await open(whoAsks, { address: '127.0.0.1:0' })
    const answer = parseAnswer(await exchange(port, bytes))
    expect(answer.status).toBe(status)
    expect(answer.headers).toMatchObject({
      connection: 'close',
      'content-type': 'application/problem+json; charset=utf-8',
    })
    expect(answer.headers['x-request-id']).toBeTruthy()
    expect(problem.parse(JSON.parse(answer.body))).toMatchObject({ status, code })
  })

  it('accepts headers of nearly 64 KiB', async () => {
    const { port } = await open(whoAsks, { address: '127.0.0.1:0' })
    const answer = await rawRequest(port, { method: 'GET', path: '/', headers: [['A', 'x'.repeat(65_000)]] })
    expect(answer.status).toBe(200)
  })

  it('puts no second answer behind half of one', async () => {
    const { port } = await open(
      (_req, res) => {
        res.writeHead(200, { 'content-length': 100 })
        res.write('half')
      },
      { address: '127.0.0.1:0' },
    )
    const text = await new Promise<string>((resolve) => {
      let received = ''
      const socket = connectPlain(port, '127.0.0.1')
      socket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n')
      socket.on('data', (data) => {
        received += data.toString()
        if (received.endsWith('half')) socket.write('garbage\r\n\r\n')
      })
      socket.on('error', () => {})
      socket.on('close', () => resolve(received))
    })
    expect(text).toMatch(/half$/)
  })

  it('lets an answer take longer than a request may', async () => {
    const limits = { headersTimeout: 100, requestTimeout: 100, connectionsCheckingInterval: 20 }
    const { port } = await open((_req, res) => void setTimeout(() => res.end('late'), 500), {
      address: '127.0.0.1:0',
      limits,
    })
    expect((await rawRequest(port, { method: 'POST', path: '/', body: 'x' })).body).toBe('late')
  })

  it('answers a request that does not arrive in time as a problem', async () => {
    const limits = { headersTimeout: 100, requestTimeout: 100, connectionsCheckingInterval: 20 }
    const { port } = await open(whoAsks, { address: '127.0.0.1:0', limits })
    const answer = parseAnswer(await exchange(port, 'GET / HTTP/1.1\r\nHost: x\r\n'))
    expect(problem.parse(JSON.parse(answer.body))).toMatchObject({ status: 408, code: 'RequestTimeout' })
  })
})

function options(given: Partial<ListenOptions>): ListenOptions {
  return { address: '', socket: '', logger: silentLogger, ...given }
}

async function open(app: RequestListener, given: Partial<ListenOptions>) {
  const listeners = await openListeners(app, options(given))
  onTestFinished(() => listeners.close(0))
  const tcp = listeners.tcp as AddressInfo
  return { listeners, tcp, port: tcp.port }
}

async function certificateFor(
  nodeName: string,
): Promise<ServingCertificate & { replace: (pair: ReturnType<ServingCertificate['current']>) => void }> {
  let pair = await selfSignedCertificate({ directory: temporaryFolder(), nodeName, clock: systemClock })
  const listeners: Parameters<ServingCertificate['onChange']>[0][] = []
  return {
    current: () => pair,
    fingerprint: () => '',
    onChange: (listener) => void listeners.push(listener),
    refresh: async () => {},
    stop: () => {},
    replace: (next) => {
      pair = next
      for (const listener of listeners) listener(next)
    },
  }
}

function textOf(request: ReturnType<typeof plainRequest>): Promise<string> {
  return new Promise((resolve, reject) => {
    request.on('error', reject)
    request.on('response', (response) => {
      let text = ''
      response.on('data', (chunk: Buffer) => (text += chunk.toString()))
      response.on('end', () => resolve(text))
    })
    request.end()
  })
}

function protocolOf(port: number, ca: string, version: SecureVersion): Promise<string | null> {
  return new Promise((resolve, reject) => {
    const socket = connect(
      {
        host: '127.0.0.1',
        port,
        ca,
        servername: 'localhost',
        minVersion: version,
        maxVersion: version,
        ciphers: 'DEFAULT@SECLEVEL=0',
      },
      () => {
        resolve(socket.getProtocol())
        socket.destroy()
      },
    )
    socket.on('error', reject)
  })
}
