import { connect as connectPlain, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { connect as connectTls } from 'node:tls'
import { describe, expect, it, onTestFinished } from 'vitest'
import { openListeners } from '../../src/http/listeners.ts'
import { selfSignedCertificate } from '../../src/http/self-signed-certificate.ts'
import { systemClock } from '../../src/shared/clock.ts'
import { silentLogger } from '../../src/shared/logger.ts'
import { testApp } from './http-services.ts'
import { temporaryFolder } from './temporary-folder.ts'

const LIMITS = {
  headersTimeout: 400,
  requestTimeout: 800,
  keepAliveTimeout: 300,
  keepAliveTimeoutBuffer: 0,
  // A busy machine takes its time for a handshake, and the others are not about that.
  handshakeTimeout: 10_000,
  connectionsCheckingInterval: 50,
}

describe.each(['plain', 'tls'] as const)('over %s, a client', (kind) => {
  it('that says nothing is cut off', async () => {
    const { open } = await start(kind)
    const life = await lifeOf(await open())
    expect(life.millis).toBeGreaterThan(300)
    expect(life.millis).toBeLessThan(5_000)
  })

  it('whose headers come byte by byte is told so, and cut off', async () => {
    const { open } = await start(kind)
    const socket = await open()
    void drip(socket, `GET /healthz HTTP/1.1\r\nHost: x\r\nX-A: ${'a'.repeat(10_000)}`)
    const life = await lifeOf(socket)
    expect(life.text).toMatch(/^HTTP\/1\.1 408 /)
    expect(life.text).toContain('"code":"RequestTimeout"')
    expect(life.millis).toBeLessThan(5_000)
  })

  it('whose body comes byte by byte is cut off', async () => {
    const { open } = await start(kind)
    const socket = await open()
    socket.write(
      'POST /v1/captures HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 60000\r\n\r\n',
    )
    void drip(socket, '{'.repeat(60_000))
    const life = await lifeOf(socket)
    expect(life.text).toMatch(/^HTTP\/1\.1 408 /)
    expect(life.millis).toBeGreaterThan(600)
    expect(life.millis).toBeLessThan(5_000)
  })

  it('whose body comes in chunks of one byte is cut off', async () => {
    const { open } = await start(kind)
    const socket = await open()
    socket.write(
      'POST /v1/captures HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n',
    )
    void drip(socket, '1\r\n{\r\n'.repeat(10_000))
    const life = await lifeOf(socket)
    expect(life.text).toMatch(/^HTTP\/1\.1 408 /)
    expect(life.millis).toBeLessThan(5_000)
  })

  it('that has its answer and asks for nothing more is cut off', async () => {
    const { open } = await start(kind)
    const socket = await open()
    socket.write('GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n')
    const life = await lifeOf(socket)
    expect(life.text).toMatch(/^HTTP\/1\.1 200 /)
    expect(life.millis).toBeLessThan(5_000)
  })
})

it('a client that is refused and does not go away is cut off', async () => {
  const { port } = await start('plain')
  const socket = connectPlain({ port, host: '127.0.0.1', allowHalfOpen: true })
  const cut = new Promise((resolve) => socket.once('error', resolve))
  socket.write('nonsense\r\n\r\n')
  const { text } = await answerOf(socket)
  expect(text).toMatch(/^HTTP\/1\.1 400 /)
  const more = setInterval(() => socket.write('more'), 100)
  onTestFinished(() => clearInterval(more))
  expect(await cut).toMatchObject({ code: expect.stringMatching(/EPIPE|ECONNRESET/) as string })
})

it('a client that begins TLS and does not go on is cut off', async () => {
  const { port } = await start('tls', { handshakeTimeout: 400 })
  for (const said of ['', '\u0016\u0003\u0001\u0002']) {
    const socket = connectPlain(port, '127.0.0.1')
    socket.on('error', () => {})
    socket.write(said, 'latin1')
    const { millis } = await lifeOf(socket)
    expect(millis).toBeGreaterThan(300)
    expect(millis).toBeLessThan(5_000)
  }
})

async function start(kind: 'plain' | 'tls', limits: Partial<typeof LIMITS> = {}) {
  const pair = await selfSignedCertificate({ directory: temporaryFolder(), nodeName: 'node-a', clock: systemClock })
  const certificate = {
    current: () => pair,
    fingerprint: () => '',
    onChange: () => {},
    refresh: async () => {},
    stop: () => {},
  }
  const listeners = await openListeners(testApp(), {
    address: '127.0.0.1:0',
    socket: '',
    ...(kind === 'tls' && { certificate }),
    limits: { ...LIMITS, ...limits },
    logger: silentLogger,
  })
  onTestFinished(() => listeners.close(0))
  const port = listeners.tcp?.port ?? 0
  const open = async (): Promise<Socket> => {
    const socket =
      kind === 'tls'
        ? connectTls({ host: '127.0.0.1', port, rejectUnauthorized: false })
        : connectPlain(port, '127.0.0.1')
    socket.on('error', () => {})
    await new Promise((resolve) => socket.once(kind === 'tls' ? 'secureConnect' : 'connect', resolve))
    return socket
  }
  return { port, open }
}

/** What it is told until the other side ends it, and how long that takes. */
async function lifeOf(socket: Socket): Promise<{ readonly text: string; readonly millis: number }> {
  const life = await answerOf(socket)
  socket.destroy()
  return life
}

async function answerOf(socket: Socket): Promise<{ readonly text: string; readonly millis: number }> {
  const began = performance.now()
  let text = ''
  socket.on('data', (data: Buffer) => (text += data.toString()))
  await new Promise((resolve) => {
    socket.once('end', resolve)
    socket.once('close', resolve)
  })
  return { text, millis: performance.now() - began }
}

async function drip(socket: Socket, bytes: string): Promise<void> {
  for (const byte of bytes) {
    if (socket.destroyed) return
    socket.write(byte)
    await sleep(20)
  }
}
