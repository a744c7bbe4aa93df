import { spawnSync } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, readdirSync, statSync, unlinkSync, writeFileSync } from 'node:fs'
import { connect, createServer, type Server } from 'node:net'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { listenOnUnixSocket } from '../../src/http/unix-socket.ts'
import { temporaryFolder } from './temporary-folder.ts'

describe('listenOnUnixSocket', () => {
  it('answers on a socket of its owner, in a folder of its owner, and leaves nothing else there', async () => {
    const folder = join(temporaryFolder(), 'run')
    const path = join(folder, 'agent.sock')
    const server = await listening(path)
    expect(await greetingAt(path)).toBe('hello')
    expect(statSync(path).mode & 0o777).toBe(0o600)
    expect(statSync(folder).mode & 0o777).toBe(0o700)
    expect(readdirSync(folder)).toEqual(['agent.sock'])
    await close(server)
    expect(readdirSync(folder)).toEqual([])
  })

  it('leaves the rights of a folder that was there', async () => {
    const folder = temporaryFolder()
    chmodSync(folder, 0o755)
    await listening(join(folder, 'agent.sock'))
    expect(statSync(folder).mode & 0o777).toBe(0o755)
  })

  it('takes the place of a socket whose owner is dead', async () => {
    const path = join(temporaryFolder(), 'agent.sock')
    leaveStaleSocket(path)
    await listening(path)
    expect(await greetingAt(path)).toBe('hello')
  })

  it('refuses a socket on which somebody answers', async () => {
    const path = join(temporaryFolder(), 'agent.sock')
    await listening(path)
    await expect(listening(path, 'second')).rejects.toMatchObject({
      name: 'ConflictError',
      code: 'SocketInUse',
      message: `Cannot listen on "${path}": another process answers there`,
    })
    expect(await greetingAt(path)).toBe('hello')
  })

  it.each(['file', 'folder'])('refuses a %s in its place', async (kind) => {
    const path = join(temporaryFolder(), 'agent.sock')
    if (kind === 'file') writeFileSync(path, 'precious')
    else mkdirSync(path)
    await expect(listening(path)).rejects.toThrow(`Cannot listen on "${path}": there is a file that is no socket`)
    expect(existsSync(path)).toBe(true)
  })

  it('refuses a path that is too long, and leaves nothing behind', async () => {
    const folder = temporaryFolder()
    const path = join(folder, 'x'.repeat(90), 'agent.sock')
    await expect(listening(path)).rejects.toMatchObject({
      message: `Cannot listen on "${path}": the path is too long for a unix socket`,
      code: 'InvalidSocketPath',
      hint: expect.stringContaining('server.socket') as string,
    })
    expect(readdirSync(join(folder, 'x'.repeat(90)))).toEqual([])
  })

  it.each([
    { what: 'a place where nothing can be made', path: () => '/proc/foo/agent.sock' },
    { what: 'a folder of the kernel', path: () => '/sys/x' },
    {
      what: 'a file for a folder',
      path: () => {
        const file = join(temporaryFolder(), 'file')
        writeFileSync(file, '')
        return join(file, 'agent.sock')
      },
    },
  ])('says what the system says of $what', async ({ path }) => {
    await expect(listening(path())).rejects.toMatchObject({
      name: 'UnavailableError',
      code: 'SocketUnavailable',
      message: expect.stringMatching(/^Cannot listen on ".*": .* \(E[A-Z]+\)$/) as string,
      hint: expect.stringContaining('server.socket') as string,
    })
  })

  it('leaves the socket of another agent that took the path over', async () => {
    const path = join(temporaryFolder(), 'agent.sock')
    const first = await listening(path)
    unlinkSync(path)
    await listening(path, 'second')
    await close(first)
    expect(await greetingAt(path)).toBe('second')
  })
})

async function listening(path: string, greeting = 'hello'): Promise<Server> {
  const server = createServer((socket) => socket.on('error', () => {}).end(greeting))
  onTestFinished(() => void server.close())
  await listenOnUnixSocket(server, path)
  return server
}

function greetingAt(path: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(path)
    socket.once('data', (data) => resolve(data.toString()))
    socket.once('error', reject)
  })
}

function close(server: Server): Promise<void> {
  return new Promise((resolve) => server.close(() => resolve()))
}

/** A process that ends without closing what it listened on, as after kill -9. */
function leaveStaleSocket(path: string): void {
  const script =
    'require("node:net").createServer().listen(process.argv[1], () => process.kill(process.pid, "SIGKILL"))'
  spawnSync(process.execPath, ['-e', script, path])
  expect(statSync(path).isSocket()).toBe(true)
}
