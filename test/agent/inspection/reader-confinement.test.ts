import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { createSocket } from 'node:dgram'
import { createServer } from 'node:net'
import { getPriority, tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { ReaderChild } from '../../../src/agent/inspection/reader-child.ts'
import { runInReader, startReaderWithHook } from '../../support/reader-hook.ts'

const root = realpathSync(mkdtempSync(join(tmpdir(), 'reader-confinement-')))
const directory = join(root, 'checkpoints')
const state = join(root, 'state')
const socketPath = join(root, 'cri.sock')
const scratch = join(root, 'scratch')
const tcp = createServer((socket) => socket.destroy())
const unix = createServer((socket) => socket.destroy())
const udp = createSocket('udp4')
let reader: ReaderChild
let signals = 0
const countSignal = () => {
  signals += 1
}

beforeAll(async () => {
  for (const folder of [directory, state, scratch, join(directory, '.checkpoint-agent')]) mkdirSync(folder)
  writeFileSync(join(directory, 'plain.tar'), 'the content')
  writeFileSync(join(directory, '.checkpoint-agent', 'staged.tar'), 'staged')
  writeFileSync(join(state, 'custody-key.pem'), 'the key')
  writeFileSync(join(state, 'index.db'), 'the database')
  symlinkSync('/etc/shadow', join(directory, 'shadow.tar'))
  symlinkSync(join(state, 'custody-key.pem'), join(directory, 'key.tar'))
  symlinkSync(state, join(directory, 'state'))
  await new Promise<void>((resolve) => tcp.listen(0, '127.0.0.1', resolve))
  await new Promise<void>((resolve) => unix.listen(socketPath, resolve))
  await new Promise<void>((resolve) => udp.bind(0, '127.0.0.1', resolve))
  process.on('SIGUSR1', countSignal)
  process.on('SIGUSR2', countSignal)
  reader = startReaderWithHook(directory)
  await reader.ready()
})

afterAll(async () => {
  await reader.close()
  process.off('SIGUSR1', countSignal)
  process.off('SIGUSR2', countSignal)
  tcp.close()
  unix.close()
  udp.close()
  rmSync(root, { recursive: true, force: true })
})

function port(server: { address: () => unknown }): number {
  return (server.address() as { port: number }).port
}

/** Resolves with what happens first. */
const UNTIL = (object: string, event: string) =>
  `await new Promise((resolve, reject) => { const o = ${object}; o.on('error', reject); o.on('${event}', resolve) })`

const READ = (path: string) => `
  const descriptor = modules.fs.openSync(Buffer.from(${JSON.stringify(path)}), 0)
  const bytes = Buffer.alloc(20)
  return bytes.toString('utf8', 0, modules.fs.readSync(descriptor, bytes, 0, 20, 0))`

describe('code in the reader', () => {
  it.each([
    ['an archive', join(directory, 'plain.tar'), 'the content'],
    ['a staged one', join(directory, '.checkpoint-agent', 'staged.tar'), 'staged'],
  ])('can read %s', async (_, path, content) => {
    expect(await runInReader(reader, READ(path))).toEqual({ value: content })
  })

  it.each([
    ['/etc/shadow', '/etc/shadow'],
    ['the custody key', join(state, 'custody-key.pem')],
    ['the database', join(state, 'index.db')],
    ['a link to /etc/shadow among the archives', join(directory, 'shadow.tar')],
    ['a link to the key among the archives', join(directory, 'key.tar')],
    ['the key through a linked directory', join(directory, 'state', 'custody-key.pem')],
    ['the key by going up', join(directory, '..', 'state', 'custody-key.pem')],
    ['the key by a path that goes up', `${directory}/../state/custody-key.pem`],
    ['the memory of the agent', `/proc/${process.pid}/mem`],
    ['the environment of the agent', `/proc/${process.pid}/environ`],
    ['its own descriptors', '/proc/self/fd/0'],
  ])('cannot read %s', async (_, path) => {
    expect(await runInReader(reader, READ(path))).toEqual({ error: expect.stringMatching(/ERR_ACCESS_DENIED|ELOOP/) })
    const calls = [
      'fs.readFileSync(p)',
      'fs.createReadStream(p)',
      'fs.openAsBlob(p)',
      'fs_promises.open(p)',
      'fs_promises.readFile(p)',
    ]
    for (const call of calls) {
      const result = await runInReader(reader, `const p = ${JSON.stringify(path)}; return await modules.${call}`)
      expect({ call, result }).toEqual({ call, result: { error: expect.stringContaining('ERR_ACCESS_DENIED') } })
    }
  })

  it.each([
    ['readFileSync of a link', `modules.fs.readFileSync(directory + '/shadow.tar')`],
    ['loadEnvFile of a link', `process.loadEnvFile(directory + '/shadow.tar')`],
    ['import of a link', `await import(directory + '/key.tar')`],
    ['require of a link', `modules.module.createRequire('/')(directory + '/key.tar')`],
    ['_extensions', `modules.module._extensions['.js']({ _compile() {} }, directory + '/key.tar')`],
    ['a private key by its address', `modules.crypto.createPrivateKey(new URL('file://${state}/custody-key.pem'))`],
    ['listing another directory', `modules.fs.readdirSync('/etc')`],
    [
      'seeing whether a file is there',
      `if (modules.fs.existsSync('/etc/shadow') !== true) throw Object.assign(new Error(), { code: 'ERR_ACCESS_DENIED' })`,
    ],
  ])('cannot get at files by %s', async (_, code) => {
    expect(await runInReader(reader, code)).toEqual({ error: expect.any(String) })
  })

  it.each([
    ['writeFileSync', `modules.fs.writeFileSync(target, 'x')`],
    ['writeFileSync among the archives', `modules.fs.writeFileSync(directory + '/made', 'x')`],
    ['openSync', `modules.fs.writeSync(modules.fs.openSync(Buffer.from(directory + '/made'), 'w'), 'x')`],
    ['truncating', `modules.fs.truncateSync(directory + '/plain.tar')`],
    ['unlink', `modules.fs.unlinkSync(directory + '/plain.tar')`],
    ['rename', `modules.fs.renameSync(directory + '/plain.tar', directory + '/made')`],
    ['chmod', `modules.fs.chmodSync(directory + '/plain.tar', 0o777)`],
    ['fchmod', `modules.fs.fchmodSync(modules.fs.openSync(Buffer.from(directory + '/plain.tar')), 0o777)`],
    ['node:sqlite', `new (await import('node:sqlite')).DatabaseSync(target).exec('create table a (b)')`],
    [
      'node:sqlite as a built-in',
      `new (process.getBuiltinModule('node:sqlite')).DatabaseSync(target).exec('create table a (b)')`,
    ],
    ['a heap snapshot', `modules.v8.writeHeapSnapshot(target)`],
    ['a report', `process.report.writeReport(target)`],
    ['a trace', `modules.trace_events.createTracing({ categories: ['v8'] }).enable()`],
    ['the compile cache', `modules.module.enableCompileCache(target)`],
    ['a flag of V8', `modules.v8.setFlagsFromString('--trace-turbo-path=' + target)`],
    ['a socket', UNTIL(`modules.net.createServer().listen(target)`, 'listening')],
    ['local storage', `localStorage.setItem('a', 'b')`],
  ])('cannot write by %s', async (_, code) => {
    const target = join(scratch, 'made')
    const before = readdirSync(directory)
    expect(await runInReader(reader, `const target = ${JSON.stringify(target)}; ${code}`)).toEqual({
      error: expect.any(String),
    })
    expect(existsSync(target)).toBe(false)
    expect(readdirSync(directory)).toEqual(before)
  })

  it.each([
    ['spawn', UNTIL(`modules.child_process.spawn('/bin/true')`, 'spawn')],
    ['spawnSync', `const { error } = modules.child_process.spawnSync('/bin/true'); if (error) throw error`],
    ['fork', `modules.child_process.fork('/bin/true')`],
    ['cluster', `modules.cluster.fork()`],
    ['execve', `process.execve('/bin/true', ['true'], {})`],
    ['a worker', `new modules.worker_threads.Worker('1', { eval: true })`],
    ['an add-on', `process.dlopen({ exports: {} }, '/lib/x86_64-linux-gnu/libc.so.6')`],
    ['FFI', `(await import('node:ffi')).dlopen('libc.so.6')`],
    ['WASI', `new (await import('node:wasi')).WASI({ version: 'preview1', preopens: { '/': '/' } })`],
    ['the inspector', `modules.inspector.open(0)`],
    ['a session of the inspector', `new modules.inspector.Session().connect()`],
    ['an internal binding', `process.binding('spawn_sync')`],
    ['a linked binding', `process._linkedBinding('fs')`],
    ['a module that is not loaded', `await import('node:http')`],
    ['a module that is', `await import('node:fs')`],
    ['require', `modules.module.createRequire('/')('node:http')`],
    ['_load', `modules.module._load('node:http')`],
    ['a built-in module', `process.getBuiltinModule('node:http')`],
    ['code from its own sources', `await import('${join(import.meta.dirname, '../../../src/shared/errors.ts')}')`],
  ])('cannot start or load anything by %s', async (_, code) => {
    expect(await runInReader(reader, code)).toEqual({ error: expect.any(String) })
  })

  it.each([
    ['process.kill', 'process.kill(process.ppid, "SIGUSR2")'],
    ['process._kill', 'process._kill(process.ppid, 12)'],
    ['process._debugProcess', 'process._debugProcess(process.ppid)'],
    ['the kill of a child', 'new modules.child_process.ChildProcess()._handle.kill(12)'],
    ['a lower priority', 'modules.os.setPriority(process.ppid, 19)'],
    ['another user', 'process.setuid(65534)'],
    ['another group', 'process.setgroups([])'],
    ['the prototype of process', 'Object.getPrototypeOf(process).kill.call(process, process.ppid, "SIGUSR2")'],
    ['what a descriptor had', 'Object.getOwnPropertyDescriptor(process, "kill").value(process.ppid, "SIGUSR2")'],
  ])('cannot reach the agent by %s', async (_, code) => {
    const priority = getPriority()
    const result = await runInReader(
      reader,
      `const given = ${code}; if (given !== 0 && given !== undefined) throw given`,
    )
    // A kill of a child that there is not is answered with a number, and nothing happens.
    expect(result).toEqual({ error: expect.any(String) })
    await new Promise((resolve) => setTimeout(resolve, 20))
    expect({ signals, priority: getPriority() }).toEqual({ signals: 0, priority })
  })

  it('cannot connect to anything', async () => {
    const attempts = {
      tcp: UNTIL(`modules.net.connect(${port(tcp)}, '127.0.0.1')`, 'connect'),
      unix: UNTIL(`modules.net.connect(${JSON.stringify(socketPath)})`, 'connect'),
      abstract: UNTIL(`modules.net.connect('\\0reader-test')`, 'connect'),
      udp: `await new Promise((resolve, reject) => { const s = modules.dgram.createSocket('udp4'); s.on('error', reject); s.send('x', ${port(udp)}, '127.0.0.1', (error) => error ? reject(error) : resolve()) })`,
      listen: UNTIL(`modules.net.createServer().listen(0)`, 'listening'),
      lookup: `await modules.dns.promises.lookup('localhost')`,
      resolve: `const r = new modules.dns.promises.Resolver({ timeout: 200, tries: 1 }); r.setServers(['127.0.0.1:${port(udp)}']); await r.resolve4('x.example')`,
      fetch: `await fetch('http://127.0.0.1:${port(tcp)}')`,
      webSocket: `new WebSocket('ws://127.0.0.1:${port(tcp)}')`,
    }
    let heard = 0
    const hear = () => {
      heard += 1
    }
    tcp.on('connection', hear)
    unix.on('connection', hear)
    udp.on('message', hear)
    for (const [name, code] of Object.entries(attempts)) {
      expect({ name, result: await runInReader(reader, code) }).toEqual({ name, result: { error: expect.any(String) } })
    }
    await new Promise((resolve) => setTimeout(resolve, 50))
    expect(heard).toBe(0)
  })

  it('sees nothing of the environment of the agent', async () => {
    const result = await runInReader(reader, `return Object.keys(process.env).toSorted().join(' ')`)
    expect(result).toEqual({
      value: 'MALLOC_ARENA_MAX MALLOC_MMAP_THRESHOLD_ MALLOC_TRIM_THRESHOLD_ UV_THREADPOOL_SIZE',
    })
  })

  it('is still the same process after all this, and at work', async () => {
    expect(reader.isAlive).toBe(true)
    expect(await runInReader(reader, `return process.pid`)).toEqual({ value: String(reader.pid) })
  })
})
