import { createServer } from 'node:http'
import { connect, type AddressInfo, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, it, onTestFinished } from 'vitest'
import { OPEN_TO_ALL, type Access } from '../../src/access/access.ts'
import { testApp } from './http-services.ts'

const MANY = 30

describe('many requests at once', () => {
  it('of one user hold up neither health nor another user', async () => {
    const { open, order } = await serve()
    const connections = await Promise.all(Array.from({ length: MANY }, () => open('mallory')))
    const grace = await open('grace')
    const health = await open('kubelet')
    order.length = 0
    await atOnce(() => {
      for (const connection of connections) connection.ask('/v1/retention')
      grace.ask('/v1/retention')
      health.ask('/healthz')
    })
    await expect.poll(() => order.length).toBe(MANY + 2)
    expect(order.indexOf('health')).toBeLessThan(3)
    expect(order.indexOf('grace')).toBeLessThan(4)
  })

  it('are all answered, users in turn', async () => {
    const { open, order } = await serve()
    const connections = await Promise.all(['ada', 'grace', 'ada', 'ada', 'grace'].map(open))
    order.length = 0
    await atOnce(() => {
      for (const connection of connections) connection.ask('/v1/retention')
    })
    await expect.poll(() => order.length).toBe(5)
    // Whoever is first, the other one is next.
    expect(order.lastIndexOf('grace')).toBeLessThan(4)
    expect(order.slice(0, 3)).toContain('ada')
    connections[0]?.ask('/v1/retention')
    await expect.poll(() => order.length).toBe(6)
  })

  it('whose callers have left take no turn', async () => {
    const { open, order } = await serve()
    const connections = await Promise.all(Array.from({ length: MANY }, () => open('mallory')))
    order.length = 0
    await atOnce(() => {
      for (const connection of connections) connection.ask('/v1/retention')
      setImmediate(() => {
        for (const { socket } of connections) socket.destroy()
      })
    })
    const grace = await open('grace')
    grace.ask('/v1/retention')
    await expect.poll(() => order).toContain('grace')
    expect(order.length).toBeLessThan(MANY)
  })
})

/** Each request of the policy takes 20 ms of the thread. `order` has who was answered. */
async function serve() {
  const order: string[] = []
  let user = ''
  const access: Access = {
    ...OPEN_TO_ALL,
    authenticate: ({ authorization = '' }) => {
      user = authorization.replace('Bearer ', '')
      return { principal: { user, groups: [] }, until: Number.POSITIVE_INFINITY }
    },
  }
  const app = testApp({
    access,
    health: {
      isAlive: () => {
        order.push('health')
        return true
      },
    },
    retention: {
      status: () => {
        order.push(user)
        for (const began = performance.now(); performance.now() - began < 20;);
        throw new Error('enough')
      },
    },
  })
  const server = createServer(app)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const sockets: Socket[] = []
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  const { port } = server.address() as AddressInfo
  /** A connection over which this user has been answered once. */
  const open = async (name: string) => {
    const socket = connect(port, '127.0.0.1')
    sockets.push(socket)
    socket.on('error', () => {})
    const ask = (path: string) =>
      socket.write(`GET ${path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${name}\r\n\r\n`)
    ask('/openapi.json')
    await new Promise((resolve) => socket.once('data', resolve))
    socket.resume()
    return { socket, ask }
  }
  return { open, order }
}

/** Lets the server see all that is sent within `act` at the same time. */
async function atOnce(act: () => void): Promise<void> {
  await sleep(50)
  act()
  await sleep(0)
}
