import { connect as connectPlain, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { installPrograms } from './harness/client-programs.ts'
import { openFiles, rssMib } from './support/process-state.ts'
import { startSecuredAgent, type SecuredAgent } from './support/secured-agent.ts'

// The agent as it is set without any setting, and clients that hold on to what they get.

const CLIENTS = 600
const CONNECTIONS = 512
const GROWTH_MIB = 100
/** What a request may take to arrive, and what the look for those that take longer is apart. */
const CUT_MS = 30_000

let secured: SecuredAgent

beforeAll(async () => {
  await installPrograms('curl')
  secured = await startSecuredAgent()
  secured.server.tokens.set('good', { username: 'ada' })
})

afterAll(() => secured[Symbol.asyncDispose]())

describe.each(['that begin TLS and stop', 'whose headers come byte by byte'])(
  `${String(CLIENTS)} clients %s`,
  (what) => {
    it('keep nobody out, and are cut off', async () => {
      const { agent } = secured
      const before = rssMib(agent.pid)
      await using flood = await startFlood(agent.port, what === 'that begin TLS and stop' ? 'handshake' : 'headers')
      const waits: number[] = []
      for (const began = performance.now(); performance.now() - began < CUT_MS; await sleep(1000)) {
        const asked = performance.now()
        const { status } = await secured.curl('/v1/node', '-m', '10', '-H', 'Authorization: Bearer good')
        expect(status).toBe(200)
        waits.push(performance.now() - asked)
        expect(connectionsOf(agent.pid)).toBeLessThanOrEqual(CONNECTIONS)
        expect(rssMib(agent.pid) - before).toBeLessThan(GROWTH_MIB)
      }
      expect(waits.toSorted((a, b) => a - b).at(waits.length >> 1)).toBeLessThan(2000)
      await expect.poll(() => flood.openCount(), { timeout: 20_000, interval: 500 }).toBe(0)
    })
  },
)

async function startFlood(port: number, kind: 'handshake' | 'headers') {
  const sockets: Socket[] = []
  for (let number = 0; number < CLIENTS; number += 1) {
    const socket =
      kind === 'handshake'
        ? connectPlain(port, '127.0.0.1')
        : connectTls({ host: '127.0.0.1', port, rejectUnauthorized: false })
    socket.on('error', () => {})
    socket.on('end', () => socket.destroy())
    socket.resume()
    socket.write(kind === 'handshake' ? '\u0016\u0003\u0001' : 'GET /v1/node HTTP/1.1\r\nHost: x\r\nX-A: ')
    sockets.push(socket)
    if (number % 20 === 19) await sleep(20)
  }
  const timer = setInterval(() => {
    for (const socket of sockets) if (kind === 'headers' && socket.writable) socket.write('a')
  }, 1000)
  return {
    openCount: () => sockets.filter((socket) => !socket.destroyed).length,
    async [Symbol.asyncDispose]() {
      clearInterval(timer)
      for (const socket of sockets) socket.destroy()
    },
  }
}

/** Some sockets are no connections of callers, a handful. */
function connectionsOf(pid: number): number {
  return openFiles(pid).filter((path) => path.startsWith('socket:')).length - 20
}
