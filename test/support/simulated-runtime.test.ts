import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { Client, credentials, Metadata, type ServiceError, status as Code } from '@grpc/grpc-js'
import { loadSync } from '@grpc/proto-loader'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { CriClient } from '../../src/runtime/cri-client.ts'
import { archiveProblem } from './archive-check.ts'
import type { SimulatedContainer } from './simulated-container.ts'
import type { CriuOnNode } from './simulated-personality.ts'
import type { SimulatedPod } from './simulated-pods.ts'
import * as fault from './simulated-runtime-faults.ts'
import { type SimulatedRuntime, type SimulatedRuntimeOptions, startSimulatedRuntime } from './simulated-runtime.ts'

let folder: string
let runtime: SimulatedRuntime
let pod: SimulatedPod
let counter: SimulatedContainer
let client: CriClient

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'simulated-'))
})

afterEach(async () => {
  client.close()
  await runtime.stop()
  rmSync(folder, { recursive: true })
})

async function start(is: string, options: Partial<SimulatedRuntimeOptions> = {}): Promise<void> {
  const socketPath = join(folder, 'runtime.sock')
  runtime = await startSimulatedRuntime({ socketPath, is, ...options })
  pod = runtime.webPod()
  counter = pod.container('counter')
  client = new CriClient({ socketPath })
}

const location = () => join(folder, 'archive.tar')
const checkpoint = (signal = new AbortController().signal) => client.checkpoint(counter.id, location(), signal)

describe('the texts and codes of each runtime', () => {
  it.each<{ is: string; criu: CriuOnNode; code: string; text: string }>([
    {
      is: 'containerd 2.1.9',
      criu: 'missing',
      code: 'CriuMissing',
      text: 'CRIU binary not found or too old (<31600). Failed',
    },
    {
      is: 'containerd 2.4.2',
      criu: 'missing',
      code: 'CriuMissing',
      text: 'criu binary not found in shim path or system PATH',
    },
    {
      is: 'containerd 2.1.9',
      criu: 'too-old',
      code: 'CriuTooOld',
      text: 'CRIU binary not found or too old (<31600). Failed',
    },
    {
      is: 'containerd 2.4.2',
      criu: 'too-old',
      code: 'CriuTooOld',
      text: 'checkpoint/restore requires at least CRIU 31600',
    },
    {
      is: 'containerd 2.4.2',
      criu: 'disabled',
      code: 'CriuDisabled',
      text: 'criu support is disabled by configuration',
    },
    { is: 'cri-o 1.36.3', criu: 'disabled', code: 'CriuDisabled', text: 'checkpoint/restore support not available' },
    { is: 'cri-o 1.36.3', criu: 'missing', code: 'CriuDisabled', text: 'checkpoint/restore support not available' },
  ])('$is, CRIU $criu: $code, even for an id that nobody has', async ({ is, criu, code, text }) => {
    await start(is)
    runtime.criu = criu
    const expected = { code, runtimeMessage: expect.stringContaining(text) }
    await expect(checkpoint()).rejects.toMatchObject(expected)
    await expect(client.checkpoint('nobody', location(), new AbortController().signal)).rejects.toMatchObject(expected)
    expect(existsSync(location())).toBe(false)
  })

  it.each([
    { is: 'containerd 1.6.8', text: 'unknown method CheckpointContainer for service runtime.v1.RuntimeService' },
    { is: 'containerd 1.6.20', text: 'method CheckpointContainer not implemented' },
    { is: 'containerd 1.7.24', text: 'method CheckpointContainer not implemented' },
    { is: 'cri-o 1.24.6', text: 'unknown method CheckpointContainer for service runtime.v1.RuntimeService' },
  ])('$is cannot take checkpoints', async ({ is, text }) => {
    await start(is)
    await expect(checkpoint()).rejects.toMatchObject({ code: 'CheckpointNotImplemented', runtimeMessage: text })
  })

  it.each([
    {
      is: 'containerd 2.4.2',
      text: 'is in CONTAINER_EXITED state. only CONTAINER_RUNNING containers can be checkpointed',
    },
    { is: 'cri-o 1.36.3', text: 'is not running' },
  ])('$is does not checkpoint a container that ended', async ({ is, text }) => {
    await start(is)
    counter.exit()
    await expect(checkpoint()).rejects.toMatchObject({
      code: 'ContainerNotRunning',
      runtimeMessage: expect.stringContaining(text),
    })
  })

  it.each([
    { is: 'containerd 2.1.9', script: fault.diskFull, code: 'DiskFull' },
    { is: 'cri-o 1.36.3', script: fault.diskFull, code: 'DiskFull' },
    { is: 'containerd 2.1.9', script: fault.criuFails, code: 'CriuCannotDump' },
    { is: 'cri-o 1.36.3', script: fault.establishedTcp, code: 'TcpEstablished' },
    { is: 'containerd 2.1.9', script: fault.fails(Code.INTERNAL, 'something new'), code: 'Unclassified' },
  ])('$is: a scripted failure is $code, and the container goes on', async ({ is, script, code }) => {
    await start(is)
    runtime.faults.next(script)
    await expect(checkpoint()).rejects.toMatchObject({ code })
    expect(counter.canExec).toBe(true)
    await checkpoint()
    expect(archiveProblem(location())).toBeUndefined()
  })

  it.each([
    { is: 'containerd 2.1.9', code: Code.UNAVAILABLE },
    { is: 'containerd 1.7.24', code: Code.UNKNOWN },
  ])('$is is not initialised yet', async ({ is, code }) => {
    await start(is)
    runtime.isInitialized = false
    await expect(client.version()).rejects.toMatchObject({ code: 'RuntimeNotInitialized' })
    await expect(rawCall('Version')).rejects.toMatchObject({ code, details: 'server is not initialized yet' })
  })

  it('says what it lacks, fails every call when told to, and may have no CRI at all', async () => {
    await start('containerd 2.1.9')
    runtime.notReady = { reason: 'NetworkPluginNotReady', message: 'cni not there' }
    expect(await client.notReadyReason()).toContain('cni not there')
    runtime.failure = { code: Code.UNAVAILABLE, details: 'busy' }
    await expect(client.listContainers()).rejects.toMatchObject({ code: 'RuntimeUnavailable' })
    runtime.hasCri = false
    await expect(rawCall('Version')).rejects.toMatchObject({
      code: Code.UNIMPLEMENTED,
      details: 'unknown service runtime.v1.RuntimeService',
    })
  })
})

describe('a deadline on the wire', () => {
  it.each(['containerd 2.1.9', 'containerd 2.4.2'])('leaves the container frozen, later: %s', async (is) => {
    await start(is)
    runtime.faults.next({ dumpMs: 5000, freezesAfterMs: 250 })
    await expect(rawCall('CheckpointContainer', { deadlineMs: 500 })).rejects.toMatchObject({
      code: Code.DEADLINE_EXCEEDED,
    })
    await vi.waitFor(() => expect(counter.isFrozen).toBe(false), { interval: 5 })
    await vi.waitFor(() => expect(counter.isFrozen).toBe(true), 2000)
    await runtime.dumpsOver()
    expect(counter.isFrozen).toBe(true)
    expect(existsSync(location())).toBe(false)
    expect(await client.findContainer(counter.id)).toMatchObject({ state: 'running' })
    expect(await client.taskState(counter.id)).toBe('paused')
    await client.resumeTask(counter.id)
    expect(counter.canExec).toBe(true)
    expect(runtime.calls.checkpoints()[0]).toMatchObject({ hasDeadline: true, outcome: 'deadline' })
  })

  it('is survived by cri-o, whose archive comes later', async () => {
    await start('cri-o 1.36.3')
    runtime.faults.next({ dumpMs: 2000 })
    await expect(rawCall('CheckpointContainer', { deadlineMs: 500 })).rejects.toMatchObject({
      code: Code.DEADLINE_EXCEEDED,
    })
    expect(existsSync(location())).toBe(false)
    expect(counter.isFrozen).toBe(true)
    await runtime.dumpsOver()
    expect(counter.canExec).toBe(true)
    expect(archiveProblem(location())).toBeUndefined()
  })
})

describe('a cancelled call', () => {
  it('while containerd pauses the container: it stays paused, and nobody but the task API helps', async () => {
    await start('containerd 2.4.2')
    runtime.faults.next({ pauseMs: 150 })
    await cancelWhen(() => counter.dumpsRunning === 1)
    await runtime.dumpsOver()
    expect(counter.isFrozen).toBe(true)
    expect(await client.findContainer(counter.id)).toMatchObject({ state: 'running' })
    expect(await client.taskState(counter.id)).toBe('paused')
    await client.resumeTask(counter.id)
    expect(counter.canExec).toBe(true)
    expect(existsSync(location())).toBe(false)
  })

  it('during the dump: containerd thaws the container when the dump is over, and writes nothing', async () => {
    await start('containerd 2.1.9')
    runtime.faults.next(fault.slow(250))
    await cancelWhen(() => counter.task === 'paused')
    expect(counter.task).toBe('paused')
    await runtime.dumpsOver()
    expect(counter.canExec).toBe(true)
    expect(existsSync(location())).toBe(false)
    expect(runtime.calls.checkpoints()[0]).toMatchObject({ hasDeadline: false, outcome: 'cancelled' })
  })

  it.each([
    { name: 'containerd leaves a part of the file', script: {}, isWhole: false },
    { name: 'or finishes it', script: { finishesFileAfterCancel: true }, isWhole: true },
  ])('during the export: $name', async ({ script, isWhole }) => {
    await start('containerd 2.4.2')
    counter.memoryBytes = 1024 * 1024
    runtime.faults.next({ dumpMs: 1, exportBytesPerSecond: 4_000_000, ...script })
    await cancelWhen(() => existsSync(location()))
    await runtime.dumpsOver()
    expect(counter.canExec).toBe(true)
    expect(archiveProblem(location()) === undefined).toBe(isWhole)
    expect(statSync(location()).size >= 1024 * 1024).toBe(isWhole)
  })

  it('after the file: a complete archive is there though the call was cancelled', async () => {
    await start('containerd 2.1.9')
    runtime.faults.next({ dumpMs: 1, cleanupMs: 5000 })
    await cancelWhen(() => archiveProblem(location()) === undefined)
    expect(archiveProblem(location())).toBeUndefined()
  })

  it('ends a call that hangs', async () => {
    await start('containerd 2.1.9')
    runtime.faults.next(fault.hangs)
    await cancelWhen(() => counter.task === 'paused')
    await runtime.dumpsOver()
    expect(counter.canExec).toBe(true)
  })
})

describe('the task API', () => {
  it.each([
    {
      version: 'v1' as const,
      file: 'freezer.state',
      frozen: 'FROZEN',
      thawed: 'THAWED',
      reportIn: 'freezer.state',
      frozenReport: /FROZEN/,
    },
    {
      version: 'v2' as const,
      file: 'cgroup.freeze',
      frozen: '1',
      thawed: '0',
      reportIn: 'cgroup.events',
      frozenReport: /frozen 1/,
    },
  ])('resumes only what the freezer says is frozen (cgroup $version)', async (row) => {
    const { version, file, frozen, thawed, reportIn, frozenReport } = row
    await start('containerd 2.1.9', { freezer: { root: join(folder, 'cgroup'), version } })
    const control = join(counter.cgroup?.folder ?? '', file)
    const report = join(counter.cgroup?.folder ?? '', reportIn)
    const state = () => readFileSync(control, 'utf8').trim()

    await expect(client.resumeTask(counter.id)).rejects.toMatchObject({
      runtimeMessage: 'cannot resume a running process',
    })
    expect(counter.canExec).toBe(true)

    runtime.faults.next(fault.leavesFrozen)
    await checkpoint()
    expect(state()).toBe(frozen)
    writeFileSync(control, thawed)
    await vi.waitFor(() => expect(counter.isFrozen).toBe(false))
    await expect(client.resumeTask(counter.id)).rejects.toMatchObject({
      runtimeMessage: 'OCI runtime resume failed: container not paused',
    })
    expect(counter.canExec).toBe(false)

    writeFileSync(control, frozen)
    await vi.waitFor(() => expect(readFileSync(report, 'utf8')).toMatch(frozenReport))
    await client.resumeTask(counter.id)
    expect(state()).toBe(thawed)
    expect(counter.canExec).toBe(true)
  })

  it('wants a namespace, the right one', async () => {
    await start('containerd 2.1.9')
    await expect(rawCall('Get')).rejects.toMatchObject({ code: Code.FAILED_PRECONDITION })
    await expect(rawCall('Get', { namespace: 'moby' })).rejects.toMatchObject({ code: Code.NOT_FOUND })
    await expect(rawCall('Get', { namespace: 'k8s.io' })).resolves.toMatchObject({ process: { status: 2 } })
  })

  it.each([
    { is: 'containerd 2.1.9', answer: { process: { status: 0 } } },
    { is: 'containerd 2.4.2', answer: { code: Code.DEADLINE_EXCEEDED } },
  ])('of $is does not know the state of a task while runc dumps it', async ({ is, answer }) => {
    await start(is, { taskStateTimeoutMs: 30 })
    runtime.faults.next(fault.slow(400))
    const dump = checkpoint()
    await vi.waitFor(() => expect(counter.isFrozen).toBe(true))
    const state = await rawCall('Get', { namespace: 'k8s.io' }).catch((error: unknown) => error)
    expect(state).toMatchObject(answer)
    await dump
    expect(await client.taskState(counter.id)).toBe('running')
  })

  it('is missing in cri-o', async () => {
    await start('cri-o 1.36.3')
    await expect(rawCall('Get', { namespace: 'k8s.io' })).rejects.toMatchObject({
      code: Code.UNIMPLEMENTED,
      details: 'unknown service containerd.services.tasks.v1.Tasks',
    })
  })

  it('leaves a container paused that was paused before its checkpoint', async () => {
    await start('containerd 2.1.9')
    counter.pause()
    await checkpoint()
    expect(archiveProblem(location())).toBeUndefined()
    expect(counter.task).toBe('paused')
  })
})

describe('cri-o, as it was seen', () => {
  const CRUN = { freezer: { root: '', version: 'v2', subgroup: 'container' } as const }

  async function startCrun(): Promise<void> {
    await start('cri-o 1.36.3 crun', {
      freezer: { ...CRUN.freezer, root: join(folder, 'cgroup') },
      storage: join(folder, 'storage'),
    })
  }

  it('freezes a child of the scope that the spec names', async () => {
    await startCrun()
    counter.pause()
    const child = counter.cgroup?.folder ?? ''
    expect(basename(child)).toBe('container')
    expect(readFileSync(join(child, 'cgroup.freeze'), 'utf8')).toBe('1\n')
    expect(readFileSync(join(child, 'cgroup.events'), 'utf8')).toContain('frozen 1')
    expect(readFileSync(join(child, '../cgroup.freeze'), 'utf8')).toBe('0\n')
  })

  it.each([
    { name: 'a paused container', prepare: () => counter.pause(), status: 200, text: /OK/ },
    {
      name: 'one that was thawed by hand',
      prepare: () => {
        counter.pause()
        counter.freeze(false)
      },
      status: 500,
      text: /container not paused/,
    },
    { name: 'one that runs', prepare: () => undefined, status: 409, text: /not in paused state, now is running/ },
  ])('answers GET /unpause for $name, beside gRPC', async ({ prepare, status, text }) => {
    await startCrun()
    prepare()
    const answer = await get(`/unpause/${counter.id}`)
    expect(answer).toMatchObject({ status, text: expect.stringMatching(text) as string })
    expect((await client.version()).name).toBe('cri-o')
  })

  it('pauses over HTTP, and then refuses a checkpoint though CRI calls the container running', async () => {
    await startCrun()
    expect((await get(`/pause/${counter.id}`)).status).toBe(200)
    expect(counter.isFrozen).toBe(true)
    await expect(rawCall('CheckpointContainer')).rejects.toMatchObject({
      code: Code.UNKNOWN,
      details: `container ${counter.id} is not running`,
    })
    expect((await get(`/stop/${counter.id}`)).status).toBe(404)
  })

  it('shows THAWED for most of a dump, while nothing runs', async () => {
    await startCrun()
    runtime.faults.next({ tracedMs: 400, dumpMs: 100 })
    const dump = checkpoint()
    const control = join(counter.cgroup?.folder ?? '', 'cgroup.freeze')
    await vi.waitFor(() => expect(counter.isFrozen).toBe(true), { interval: 5 })
    await vi.waitFor(() => expect(readFileSync(control, 'utf8')).toBe('0\n'), { interval: 5 })
    expect(counter.canExec).toBe(false)
    await dump
    expect(counter.canExec).toBe(true)
  })

  it('ignores a cancel: the archive comes later', async () => {
    await startCrun()
    runtime.faults.next(fault.slow(400))
    await cancelWhen(() => counter.isFrozen)
    expect(existsSync(location())).toBe(false)
    await runtime.dumpsOver()
    expect(archiveProblem(location())).toBeUndefined()
  })

  it('keeps the memory images of a dump that it cannot export, until the next one', async () => {
    await startCrun()
    const images = join(folder, 'storage', counter.id, 'userdata', 'checkpoint', 'pages-1.img')
    const lost = client.checkpoint(counter.id, join(folder, 'gone', 'archive.tar'), new AbortController().signal)
    await expect(lost).rejects.toMatchObject({ code: 'DirectoryMissing' })
    expect(statSync(images).size).toBe(counter.memoryBytes)
    await checkpoint()
    expect(existsSync(images)).toBe(false)
  })

  it('with crun lets a second dump destroy the first one, which is told that all is well', async () => {
    await startCrun()
    runtime.faults.next(fault.slow(300))
    const first = checkpoint()
    await vi.waitFor(() => expect(counter.isFrozen).toBe(true), { interval: 5 })
    const second = client.checkpoint(counter.id, join(folder, 'second.tar'), new AbortController().signal)
    await expect(second).rejects.toMatchObject({ code: 'ContainerPaused' })
    await first
    expect(archiveProblem(location())).toBeDefined()
  })

  it('names images by their bare digits, and says what crun says', async () => {
    await startCrun()
    expect((await client.listContainers())[0]?.imageReference).toMatch(/^[0-9a-f]{64}$/)
    runtime.faults.next(fault.libcriuMissing)
    await expect(checkpoint()).rejects.toMatchObject({ code: 'CriuMissing' })
    runtime.faults.next(fault.crunCannotDump)
    await expect(checkpoint()).rejects.toMatchObject({ code: 'CriuCannotDump' })
  })
})

/** A plain request on the CRI socket. */
async function get(path: string): Promise<{ readonly status: number; readonly text: string }> {
  const { promise, resolve, reject } = Promise.withResolvers<{ status: number; text: string }>()
  request({ socketPath: runtime.socketPath, path, agent: false }, (response) => {
    let text = ''
    response.setEncoding('utf8')
    response.on('data', (chunk: string) => (text += chunk))
    response.once('end', () => resolve({ status: response.statusCode ?? 0, text }))
  })
    .once('error', reject)
    .end()
  return await promise
}

describe('files', () => {
  it('appear late, with mode 0600, and grow', async () => {
    await start('containerd 2.1.9')
    counter.memoryBytes = 512 * 1024
    runtime.faults.next({ dumpMs: 100, exportBytesPerSecond: 2_000_000 })
    const dump = checkpoint()
    await vi.waitFor(() => expect(counter.isFrozen).toBe(true), { interval: 2 })
    expect(existsSync(location())).toBe(false)
    await vi.waitFor(() => expect(existsSync(location())).toBe(true), { interval: 2 })
    expect(statSync(location()).mode & 0o777).toBe(0o600)
    expect(statSync(location()).size).toBeLessThan(512 * 1024)
    await dump
    expect(archiveProblem(location())).toBeUndefined()
  })

  it('are written over a longer one without cutting it', async () => {
    await start('containerd 2.1.9')
    writeFileSync(location(), Buffer.alloc(1024 * 1024, 'x'))
    await checkpoint()
    expect(statSync(location()).size).toBe(1024 * 1024)
    expect(readFileSync(location()).toString('latin1').endsWith('xxxx')).toBe(true)
  })

  it.each([
    { name: 'without the end though the call succeeds', script: fault.fileWithoutEnd, difference: -1024 },
    { name: 'with a stale tail', script: fault.fileWithStaleTail, difference: 8192 },
  ])('$name', async ({ script, difference }) => {
    await start('containerd 2.1.9')
    await checkpoint()
    const whole = statSync(location()).size
    rmSync(location())
    runtime.faults.next(script)
    await checkpoint()
    expect(statSync(location()).size - whole).toBe(difference)
    expect(archiveProblem(location())).toBe('it does not end with two zero blocks')
  })

  it('are missing though the call succeeds', async () => {
    await start('containerd 2.1.9')
    runtime.faults.next(fault.noFile)
    await checkpoint()
    expect(existsSync(location())).toBe(false)
  })

  it('stay half written when the disk is full', async () => {
    await start('containerd 2.1.9')
    runtime.faults.next(fault.diskFull)
    await expect(checkpoint()).rejects.toMatchObject({ code: 'DiskFull' })
    const half = statSync(location()).size
    rmSync(location())
    await checkpoint()
    expect(half).toBe(Math.floor(statSync(location()).size / 2))
  })
})

describe('the daemon', () => {
  it.each(['dump', 'export'] as const)('goes on when the connection drops in the %s', async (phase) => {
    await start('containerd 2.1.9')
    runtime.faults.next(fault.dropsConnection(phase))
    await expect(checkpoint()).rejects.toMatchObject({ code: 'RuntimeUnavailable' })
    await runtime.dumpsOver()
    expect(counter.canExec).toBe(true)
    await vi.waitFor(() => client.version(), 5000)
  })

  it('killed in the middle leaves the container paused, and containerd loses sight of it', async () => {
    await start('containerd 2.1.9')
    runtime.faults.next(fault.slow(5000))
    const ending = endingOf(checkpoint())
    await vi.waitFor(() => expect(counter.isFrozen).toBe(true))
    await runtime.stop()
    expect(await ending).toMatchObject({ code: 'RuntimeUnavailable' })
    expect(existsSync(runtime.socketPath)).toBe(false)
    await runtime.start()
    await vi.waitFor(() => client.version(), 5000)
    expect(await client.taskState(counter.id)).toBe('paused')
    expect(await client.findContainer(counter.id)).toMatchObject({ state: 'unknown' })
    await client.resumeTask(counter.id)
    expect(counter.canExec).toBe(true)
    await expect(checkpoint()).rejects.toMatchObject({ code: 'ContainerNotRunning' })
    await runtime.restart()
    await vi.waitFor(() => client.version(), 5000)
    expect(await client.findContainer(counter.id)).toMatchObject({ state: 'running' })
    await checkpoint()
    expect(archiveProblem(location())).toBeUndefined()
  })

  it('takes connections and says nothing', async () => {
    await start('containerd 2.1.9')
    runtime.setSilent(true)
    await expect(rawCall('Version', { deadlineMs: 150 })).rejects.toMatchObject({ code: Code.DEADLINE_EXCEEDED })
    runtime.setSilent(false)
    runtime.dropConnections()
    await vi.waitFor(() => client.version(), 5000)
  })

  it('leaves a socket file that nobody serves when it is killed', async () => {
    await start('containerd 2.1.9')
    await runtime.stop('stale')
    expect(statSync(runtime.socketPath).isSocket()).toBe(true)
    await expect(client.version()).rejects.toMatchObject({ code: 'RuntimeUnavailable' })
  })
})

describe('what a test can see', () => {
  it('that two dumps of one container overlapped, and that none did', async () => {
    await start('containerd 2.1.9')
    const other = runtime.pods.addContainer(pod, { name: 'side-car' })
    runtime.faults.always(fault.slow(150))
    const signal = new AbortController().signal
    await Promise.all([checkpoint(), client.checkpoint(other.id, join(folder, 'other.tar'), signal)])
    expect(runtime.calls.overlaps).toBe(0)
    expect(runtime.calls.mostDumpsAtOnce).toBe(2)
    const first = checkpoint()
    await vi.waitFor(() => expect(counter.dumpsRunning).toBe(1))
    await expect(checkpoint()).rejects.toMatchObject({ code: 'CheckpointNameTaken' })
    await first
    expect(runtime.calls.overlaps).toBe(1)
  })

  it('counts an abandoned dump that is still winding down as an overlap', async () => {
    await start('cri-o 1.36.3')
    runtime.faults.always(fault.slow(5000))
    // Long enough for the call to arrive on a busy machine too.
    await expect(rawCall('CheckpointContainer', { deadlineMs: 1000 })).rejects.toMatchObject({
      code: Code.DEADLINE_EXCEEDED,
    })
    await expect(checkpoint()).rejects.toMatchObject({ code: 'ContainerPaused' })
    expect(runtime.calls.overlaps).toBe(1)
  })

  it('names that are no UTF-8, byte for byte', async () => {
    await start('containerd 2.1.9')
    const odd = runtime.addPod({
      namespace: 'shop',
      name: Buffer.from([0x61, 0xff]),
      containers: [{ name: 'a\u001b[2J' }],
    })
    const sandbox = (await client.listSandboxes()).find(({ id }) => id === odd.id)
    expect(sandbox?.pod).toBe('a\\xff')
    expect((await client.listContainers()).at(-1)?.name).toBe('a\\x1b[2J')
    await client.checkpoint(odd.containers[0]?.id ?? '', location(), new AbortController().signal)
    expect(archiveProblem(location())).toBeUndefined()
  })

  it('a pod that comes, ends and goes while the runtime runs', async () => {
    await start('cri-o 1.36.3')
    const short = runtime.addPod({ namespace: 'bank', name: 'ledger-1', uid: 'u-1', containers: [{ name: 'job' }] })
    const job = short.container('job')
    expect(await client.findContainer(job.id)).toMatchObject({
      state: 'running',
      cgroupsPath: `kubepods-burstable-podu_1.slice:crio:${job.id}`,
    })
    job.exit()
    expect(await client.findContainer(job.id)).toMatchObject({ state: 'exited' })
    expect((await client.listUsage()).has(job.id)).toBe(false)
    runtime.pods.remove(short)
    expect(await client.findContainer(job.id)).toBeUndefined()
  })

  it('a counter that stands still while it is frozen', async () => {
    await start('containerd 2.1.9')
    vi.useFakeTimers({ toFake: ['Date'] })
    try {
      const { container } = pod
      const fresh = runtime.pods.addContainer(pod, { name: 'fresh' })
      vi.advanceTimersByTime(3000)
      expect(container('fresh').count).toBe(3)
      fresh.pause()
      vi.advanceTimersByTime(5000)
      expect(fresh.count).toBe(3)
      expect(fresh.resume()).toBe(true)
      vi.advanceTimersByTime(2000)
      expect(fresh.count).toBe(5)
    } finally {
      vi.useRealTimers()
    }
  })
})

/** Takes a checkpoint and gives it up as soon as it is that far. */
async function cancelWhen(isThatFar: () => boolean): Promise<void> {
  const controller = new AbortController()
  const ending = endingOf(checkpoint(controller.signal))
  await vi.waitFor(() => expect(isThatFar()).toBe(true), { interval: 2, timeout: 5000 })
  controller.abort()
  expect(await ending).toMatchObject({ code: 'CaptureCancelled' })
  await vi.waitFor(() => expect(runtime.calls.checkpoints()[0]?.outcome).toBe('cancelled'))
}

function endingOf(call: Promise<unknown>): Promise<unknown> {
  return call.then(
    () => 'it succeeded',
    (error: unknown) => error,
  )
}

const methods = loadSync(['proto/cri/runtime.proto', 'proto/containerd/tasks.proto'], { keepCase: true, enums: Number })

interface RawOptions {
  readonly deadlineMs?: number
  readonly namespace?: string
}

/** A call as somebody makes it who is not our client: with a deadline on the wire, or without the namespace. */
async function rawCall(name: 'Version' | 'CheckpointContainer' | 'Get', options: RawOptions = {}): Promise<object> {
  const service = name === 'Get' ? 'containerd.services.tasks.v1.Tasks' : 'runtime.v1.RuntimeService'
  const method = (methods[service] as Readonly<Record<string, RawMethod>>)[name]
  if (method === undefined) throw new Error(`no method ${name}`)
  const raw = new Client(`unix:${runtime.socketPath}`, credentials.createInsecure(), {
    'grpc.use_local_subchannel_pool': 1,
  })
  const metadata = new Metadata()
  if (options.namespace !== undefined) metadata.set('containerd-namespace', options.namespace)
  const { promise, resolve, reject } = Promise.withResolvers<object>()
  raw.makeUnaryRequest(
    method.path,
    method.requestSerialize,
    method.responseDeserialize,
    { container_id: counter.id, location: location() },
    metadata,
    options.deadlineMs === undefined ? {} : { deadline: Date.now() + options.deadlineMs },
    (error: ServiceError | null, response?: object) => (error === null ? resolve(response ?? {}) : reject(error)),
  )
  return await promise.finally(() => raw.close())
}

interface RawMethod {
  readonly path: string
  readonly requestSerialize: (value: object) => Buffer
  readonly responseDeserialize: (bytes: Buffer) => object
}
