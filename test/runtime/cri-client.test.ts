import { chmodSync, existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type Http2Server, type IncomingHttpHeaders, type ServerHttp2Stream } from 'node:http2'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { CriClient, type CriClientOptions } from '../../src/runtime/cri-client.ts'
import { RuntimeFailureError, UnavailableError } from '../../src/shared/errors.ts'
import { archiveProblem } from '../support/archive-check.ts'
import { hangs, slow } from '../support/simulated-runtime-faults.ts'
import { startSimulatedRuntime, type SimulatedRuntime } from '../support/simulated-runtime.ts'

let folder: string
let socketPath: string
let cleanups: (() => unknown)[]

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'cri-client-'))
  socketPath = join(folder, 'runtime.sock')
  cleanups = [() => rmSync(folder, { recursive: true })]
})

afterEach(async () => {
  for (const cleanup of cleanups.toReversed()) await cleanup()
})

function connect(options: Partial<CriClientOptions> = {}): CriClient {
  const client = new CriClient({ socketPath, ...options })
  cleanups.push(() => client.close())
  return client
}

async function startRuntime(is = 'containerd 2.1.9'): Promise<SimulatedRuntime> {
  const runtime = await startSimulatedRuntime({ socketPath, is })
  cleanups.push(() => runtime.stop())
  return runtime
}

const never = () => new AbortController().signal

describe('names that others chose', () => {
  const NAMES = [
    Buffer.from([0x61, 0xff]),
    Buffer.from([0x61, 0xfe]),
    Buffer.from('a\n'),
    Buffer.from('a\u001b[31m'),
    Buffer.from(String.raw`a\xff`),
    Buffer.from('a\0'),
    Buffer.from('a\u202e'),
    Buffer.from('/'),
    Buffer.alloc(0),
  ]
  const READABLE = [
    String.raw`a\xff`,
    String.raw`a\xfe`,
    String.raw`a\x0a`,
    String.raw`a\x1b[31m`,
    String.raw`a\\xff`,
    String.raw`a\x00`,
    String.raw`a\u{202e}`,
    '/',
    '',
  ]

  it('are readable and distinct, for pods, namespaces, uids, containers and images', async () => {
    const runtime = await startRuntime()
    for (const name of NAMES) {
      runtime.addPod({ namespace: name, name, uid: name, containers: [{ name, image: name }] })
    }
    const client = connect()
    const sandboxes = await client.listSandboxes()
    expect(sandboxes.map(({ pod }) => pod)).toEqual(READABLE)
    expect(sandboxes.map(({ namespace }) => namespace)).toEqual(READABLE)
    expect(sandboxes.map(({ podUid }) => podUid)).toEqual(READABLE)
    const containers = await client.listContainers()
    expect(containers.map(({ name }) => name)).toEqual(READABLE)
    // An image without a name is shown by its id.
    expect(containers.map(({ image }) => image)).toEqual([...READABLE.slice(0, -1), `sha256:${'4f98'.repeat(16)}`])
  })

  it("do not come out of the runtime's texts as they are", async () => {
    const runtime = await startRuntime()
    runtime.failure = { code: 2, details: 'a\u001b[31mb\u202ec\tline 1\nline 2 C:\\x' }
    const error: unknown = await connect()
      .version()
      .catch((thrown: unknown) => thrown)
    expect(error).toMatchObject({ runtimeMessage: 'a\\x1b[31mb\\u{202e}c\tline 1\nline 2 C:\\x' })
  })
})

describe('what the client reads', () => {
  it('is all that the runtime says of its containers', async () => {
    const runtime = await startRuntime()
    const pod = runtime.webPod()
    const client = connect()
    expect(await client.version()).toEqual({ name: 'containerd', version: '2.1.9' })
    const states = (await client.listContainers()).map(({ name, state }) => [name, state])
    expect(states).toEqual([
      ['init', 'exited'],
      ['counter', 'running'],
      ['crash', 'exited'],
    ])
    expect(await client.listUsage(pod.container('counter').id)).toEqual(
      new Map([[pod.container('counter').id, { memoryBytes: 64 * 1024 + 512 * 1024, writableLayerBytes: 4096 }]]),
    )
  })

  it('is nothing of the environment of a container', async () => {
    const runtime = await startRuntime()
    const { id } = runtime.webPod().container('counter')
    expect(JSON.stringify(await connect().findContainer(id))).not.toContain('s3cr3t')
  })

  it('finds nothing under an id that nobody has', async () => {
    await startRuntime()
    expect(await connect().findContainer('f'.repeat(64))).toBeUndefined()
  })

  it('says why the runtime is not ready', async () => {
    const runtime = await startRuntime()
    const client = connect()
    expect(await client.notReadyReason()).toBeUndefined()
    runtime.notReady = { reason: 'NetworkPluginNotReady', message: 'cni config uninitialized' }
    expect(await client.notReadyReason()).toBe('NetworkPluginNotReady cni config uninitialized')
  })
})

describe('a runtime that comes and goes', () => {
  it('is found as soon as its socket is there', async () => {
    const client = connect()
    await expect(client.version()).rejects.toThrow(UnavailableError)
    await expect(client.version()).rejects.toMatchObject({
      code: 'RuntimeUnavailable',
      message: `Cannot reach the container runtime: there is no socket at ${socketPath}`,
    })
    await startRuntime()
    expect(await client.version()).toMatchObject({ name: 'containerd' })
  })

  it('is looked for again where no path is known', async () => {
    let path: string | undefined
    const client = connect({ socketPath: () => path })
    await expect(client.version()).rejects.toMatchObject({ code: 'RuntimeUnavailable' })
    await startRuntime()
    path = socketPath
    expect(await client.version()).toMatchObject({ name: 'containerd' })
  })

  it.each(['removed', 'stale'] as const)(
    'is unavailable while it is down, its socket %s, and back at once',
    async (file) => {
      const runtime = await startRuntime()
      const client = connect()
      await client.version()
      await runtime.stop(file)
      await expect(client.version()).rejects.toMatchObject({ code: 'RuntimeUnavailable' })
      await expect(client.version()).rejects.toBeInstanceOf(UnavailableError)
      await runtime.start()
      // No wait: a new file gets a new channel, which owes nothing to the failures of the old one.
      expect(await client.version()).toMatchObject({ name: 'containerd' })
    },
  )

  it('is back after many restarts', async () => {
    const runtime = await startRuntime()
    const client = connect()
    for (let round = 0; round < 5; round += 1) {
      expect(await client.version()).toMatchObject({ name: 'containerd' })
      await runtime.restart()
    }
  })

  it('is not confused by a socket file that only looks new: what is under way goes on', async () => {
    const runtime = await startRuntime()
    const { id } = runtime.webPod().container('counter')
    runtime.faults.next(slow(200))
    const client = connect()
    const location = join(folder, 'archive.tar')
    const dump = client.checkpoint(id, location, never())
    await expect.poll(() => runtime.dumpsRunning, { interval: 5 }).toBe(1)
    chmodSync(socketPath, 0o660)
    await client.version()
    await dump
    expect(archiveProblem(location)).toBeUndefined()
  })

  it('ends the calls under way when it dies', async () => {
    const runtime = await startRuntime()
    const { id } = runtime.webPod().container('counter')
    runtime.faults.next(hangs)
    const dump = connect().checkpoint(id, join(folder, 'archive.tar'), never())
    const outcome = dump.then(() => 'done', codeOf)
    await expect.poll(() => runtime.dumpsRunning, { interval: 5 }).toBe(1)
    await runtime.stop('stale')
    expect(await outcome).toBe('RuntimeUnavailable')
  })

  it('that stands where a plain file is does not answer', async () => {
    writeFileSync(socketPath, '')
    await expect(connect().version()).rejects.toMatchObject({ code: 'RuntimeUnavailable' })
  })

  it('is not called any more after close', async () => {
    await startRuntime()
    const client = connect()
    client.close()
    await expect(client.version()).rejects.toMatchObject({ code: 'RuntimeUnavailable' })
  })
})

describe('a runtime that takes calls and is silent', () => {
  it('ends every call but the checkpoint after the timeout', async () => {
    const runtime = await startRuntime()
    const { id } = runtime.webPod().container('counter')
    const client = connect({ callTimeoutMs: 150 })
    await client.version()
    runtime.setSilent(true)
    const calls = [
      () => client.version(),
      () => client.notReadyReason(),
      () => client.listSandboxes(),
      () => client.listContainers(),
      () => client.findContainer(id),
      () => client.listUsage(),
      () => client.taskState(id),
      () => client.resumeTask(id),
    ]
    const codes = await Promise.all(calls.map((call) => call().then(() => 'answered', codeOf)))
    expect(codes.every((code) => code === 'RuntimeDeadline' || code === 'RuntimeUnavailable')).toBe(true)
  })

  it('does not end a checkpoint by itself; a cancel does', async () => {
    const runtime = await startRuntime()
    const { id } = runtime.webPod().container('counter')
    runtime.faults.next(hangs)
    const cancel = new AbortController()
    const dump = connect({ callTimeoutMs: 50 }).checkpoint(id, join(folder, 'archive.tar'), cancel.signal)
    const outcome = dump.then(() => 'done', codeOf)
    expect(await Promise.race([outcome, sleep(300, 'still waiting')])).toBe('still waiting')
    cancel.abort()
    expect(await outcome).toBe('CaptureCancelled')
    await runtime.dumpsOver()
    expect(runtime.pods.find(id)?.container.canExec).toBe(true)
    expect(runtime.calls.checkpoints()).toMatchObject([{ hasDeadline: false, outcome: 'cancelled' }])
  })

  it('is not even asked for a checkpoint that was cancelled before it began', async () => {
    const runtime = await startRuntime()
    const { id } = runtime.webPod().container('counter')
    const dump = connect().checkpoint(id, join(folder, 'archive.tar'), AbortSignal.abort())
    await expect(dump).rejects.toMatchObject({ code: 'CaptureCancelled' })
    expect(runtime.calls.checkpoints()).toEqual([])
    expect(existsSync(join(folder, 'archive.tar'))).toBe(false)
  })
})

describe('on the wire', () => {
  it('the authority is localhost, calls that look carry a deadline, and a checkpoint none', async () => {
    const seen = await startRawServer((stream) => answer(stream, Buffer.alloc(0)))
    const client = connect({ containerdNamespace: 'k8s.io' })
    await client.version()
    await client.listContainers()
    await client.taskState('c1')
    await client.checkpoint('c1', '/x', never())
    expect(seen.map((headers) => headers[':authority'])).toEqual(['localhost', 'localhost', 'localhost', 'localhost'])
    const byPath = new Map(seen.map((headers) => [headers[':path'], headers]))
    expect(byPath.get('/runtime.v1.RuntimeService/Version')?.['grpc-timeout']).toMatch(/^\d+[mS]$/)
    expect(byPath.get('/runtime.v1.RuntimeService/ListContainers')?.['grpc-timeout']).toMatch(/^\d+[mS]$/)
    expect(byPath.get('/runtime.v1.RuntimeService/CheckpointContainer')).toBeDefined()
    expect(byPath.get('/runtime.v1.RuntimeService/CheckpointContainer')?.['grpc-timeout']).toBeUndefined()
    expect(byPath.get('/containerd.services.tasks.v1.Tasks/Get')?.['containerd-namespace']).toBe('k8s.io')
  })

  it('an answer of just under 16 MiB is taken, and a larger one is a failure with a name', async () => {
    let size = 0
    await startRawServer((stream) => answer(stream, imageNamesOf(size)))
    const client = connect()
    size = 16 * 1024 * 1024 - 1024
    expect(await client.listContainers()).toHaveLength(16)
    size = 16 * 1024 * 1024 + 1024
    await expect(client.listContainers()).rejects.toBeInstanceOf(RuntimeFailureError)
    await expect(client.listContainers()).rejects.toMatchObject({ code: 'RuntimeAnswerTooLarge' })
    size = 0
    expect(await client.listContainers()).toEqual([])
  })

  it('an answer that is no message of the protocol is a failure of the runtime, not of ours', async () => {
    await startRawServer((stream) => answer(stream, Buffer.alloc(64, 0xff)))
    await expect(connect().listContainers()).rejects.toBeInstanceOf(RuntimeFailureError)
  })

  it('a program that does not speak gRPC is a failure too', async () => {
    await startRawServer((stream) => {
      stream.respond({ ':status': 200, 'content-type': 'text/html' })
      stream.end('<html>')
    })
    await expect(connect({ callTimeoutMs: 1000 }).version()).rejects.toMatchObject({
      code: expect.stringMatching(/\S/),
    })
  })
})

/** An HTTP/2 server that shows the raw headers, and answers what no protobuf server would. */
async function startRawServer(respond: (stream: ServerHttp2Stream) => void): Promise<IncomingHttpHeaders[]> {
  const seen: IncomingHttpHeaders[] = []
  // Node's own limit is 10 MB a session, less than one answer here.
  const server: Http2Server = createServer({ maxSessionMemory: 100 })
  server.on('session', (session) => {
    session.on('error', () => undefined)
    cleanups.push(() => session.destroy())
  })
  server.on('stream', (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => {
    seen.push(headers)
    stream.on('error', () => undefined)
    stream.resume()
    respond(stream)
  })
  const listening = Promise.withResolvers<void>()
  server.listen(socketPath, listening.resolve)
  await listening.promise
  cleanups.push(() => server.close())
  return seen
}

function answer(stream: ServerHttp2Stream, message: Buffer): void {
  const prefix = Buffer.alloc(5)
  prefix.writeUInt32BE(message.length, 1)
  stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true })
  stream.on('wantTrailers', () => {
    stream.sendTrailers({ 'grpc-status': '0' })
  })
  stream.end(Buffer.concat([prefix, message]))
}

/** A list of 16 containers whose image references fill so many bytes. */
function imageNamesOf(size: number): Buffer {
  if (size === 0) return Buffer.alloc(0)
  const perContainer = size / 16
  const containers = Array.from({ length: 16 }, () => {
    const imageRef = Buffer.alloc(perContainer - 10, 'i')
    return field(1, field(5, imageRef))
  })
  return Buffer.concat(containers)
}

function field(number: number, bytes: Buffer): Buffer {
  return Buffer.concat([Buffer.from([(number << 3) | 2]), varint(bytes.length), bytes])
}

function varint(value: number): Buffer {
  const bytes: number[] = []
  for (let rest = value; ; rest = Math.floor(rest / 128)) {
    if (rest < 128) return Buffer.from([...bytes, rest])
    bytes.push((rest % 128) | 0x80)
  }
}

function codeOf(error: unknown): unknown {
  return error instanceof RuntimeFailureError || error instanceof UnavailableError ? error.code : error
}
