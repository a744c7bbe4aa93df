import { connect, type Socket } from 'node:net'
import { describe, expect, it, onTestFinished } from 'vitest'
import { openListeners } from '../../src/http/listeners.ts'
import { silentLogger } from '../../src/shared/logger.ts'
import { testApp } from './http-services.ts'
import { rawRequest } from './raw-request.ts'
import { accessOf, serve } from './role-services.ts'

const MAX = 16

describe('more connections than the port holds', () => {
  it('cost strangers theirs, the oldest first, and nobody who is known', async () => {
    const { port, open } = await start()
    const ada = await open()
    expect(await ask(ada, 'ada')).toBe(200)
    const strangers: Socket[] = []
    for (let number = 0; number < 100; number += 1) strangers.push(await open())
    await expect.poll(() => strangers.filter(isOpen).length).toBe(MAX - 1)
    expect(strangers.slice(0, -(MAX - 1)).some(isOpen)).toBe(false)
    expect(await ask(ada, 'ada')).toBe(200)
    const answer = await rawRequest(port, {
      method: 'GET',
      path: '/v1/node',
      headers: [['Authorization', 'Bearer grace']],
    })
    expect(answer.status).toBe(200)
  })

  it('cost the user who has most an idle one, and not the one who comes', async () => {
    const { open } = await start()
    const ada = await open()
    await ask(ada, 'ada')
    const taken: Socket[] = []
    for (let number = 0; number < MAX - 1; number += 1) taken.push(await open())
    for (const socket of taken) await ask(socket, 'eve')
    const grace = await open()
    expect(await ask(grace, 'grace')).toBe(200)
    await expect.poll(() => taken.filter(isOpen).length).toBe(MAX - 2)
    expect(taken.map(isOpen).indexOf(false), 'the one that was idle for the longest').toBe(0)
    expect(await ask(ada, 'ada')).toBe(200)
  })

  it('cost the user who has most one that is busy, where all of them are', async () => {
    const { open } = await start()
    const ada = await open()
    await ask(ada, 'ada')
    const busy: Socket[] = []
    for (let number = 0; number < MAX - 1; number += 1) {
      const socket = await open()
      await ask(socket, 'eve')
      // The rest of its body never comes.
      socket.write(
        `POST /v1/captures HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer eve\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{`,
      )
      busy.push(socket)
    }
    const grace = await open()
    expect(await ask(grace, 'grace')).toBe(200)
    await expect.poll(() => busy.filter(isOpen).length).toBe(MAX - 2)
    expect(isOpen(ada)).toBe(true)
  })

  it('make room again when they end', async () => {
    const { open } = await start()
    for (let round = 0; round < 5; round += 1) {
      const sockets: Socket[] = []
      for (let number = 0; number < MAX; number += 1) sockets.push(await open())
      for (const socket of sockets) expect(await ask(socket, 'ada')).toBe(200)
      for (const socket of sockets) socket.destroy()
    }
  })
})

const USERS = { ada: [], grace: [], eve: ['create checkpoints in shop'] }

async function start() {
  const app = testApp({ ...serve(), access: accessOf(USERS) })
  const options = { address: '127.0.0.1:0', socket: '', maxConnections: MAX, logger: silentLogger }
  const listeners = await openListeners(app, options)
  const sockets: Socket[] = []
  onTestFinished(async () => {
    for (const socket of sockets) socket.destroy()
    await listeners.close(0)
  })
  const port = listeners.tcp?.port ?? 0
  const open = async () => {
    const socket = connect(port, '127.0.0.1')
    sockets.push(socket)
    socket.on('error', () => {})
    await new Promise((resolve) => socket.once('connect', resolve))
    return socket
  }
  return { port, open }
}

/** Gives the status, and leaves the connection open. */
function ask(socket: Socket, user: string): Promise<number> {
  return new Promise((resolve, reject) => {
    let text = ''
    const read = (data: Buffer) => {
      text += data.toString()
      const [head = '', body] = text.split('\r\n\r\n')
      if (body === undefined || body.length < Number(/content-length: (\d+)/i.exec(head)?.[1])) return
      socket.off('data', read)
      resolve(Number(text.split(' ')[1]))
    }
    socket.on('data', read)
    socket.once('close', () => reject(new Error('closed')))
    socket.write(`GET /v1/node HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${user}\r\n\r\n`)
  })
}

function isOpen(socket: Socket): boolean {
  return !socket.closed && !socket.readableEnded && !socket.destroyed
}
