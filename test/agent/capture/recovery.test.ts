import {
  appendFileSync,
  existsSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, it, vi } from 'vitest'
import type { Agent } from '../../../src/agent/agent.ts'
import { startAgent } from '../../../src/agent/start-agent.ts'
import { STAGING_FOLDER } from '../../../src/agent/directory/staging.ts'
import { isFinal, jobState, type CaptureState, type ContainerCapture } from '../../../src/checkpoint/capture-job.ts'
import { formatArchiveName } from '../../../src/checkpoint/archive-name.ts'
import { systemClock } from '../../../src/shared/clock.ts'
import { silentLogger } from '../../../src/shared/logger.ts'
import { openDatabase } from '../../../src/store/database.ts'
import { JobStore, type CaptureTraces } from '../../../src/store/job-store.ts'
import { buildArchive, writeArchive } from '../../support/archive-builder.ts'
import { archiveProblem } from '../../support/archive-check.ts'
import type { SimulatedContainer } from '../../support/simulated-container.ts'
import { startSimulatedRuntime, type SimulatedRuntime } from '../../support/simulated-runtime.ts'
import {
  agentOptions,
  makeTestFolder,
  recordingLogger,
  stagingFolders,
  type TestFolder,
} from '../../support/test-agent.ts'

vi.setConfig({ maxConcurrency: 15, testTimeout: 40_000 })

const JOB = '01JD5V3GQ4Z8E0M2N6R7T9W1XY'
const STAGING_ID = `${JOB}-0`
const STARTED = new Date('2026-11-20T21:34:07.500Z')

/** What an agent has left that did not come to end its captures, made by hand. */
class Leftovers implements AsyncDisposable {
  readonly folder: TestFolder
  readonly runtime: SimulatedRuntime
  readonly counter: SimulatedContainer
  readonly logger = recordingLogger()
  readonly staged: string
  readonly published: string
  #agent: Agent | undefined

  constructor(folder: TestFolder, runtime: SimulatedRuntime) {
    this.folder = folder
    this.runtime = runtime
    this.counter = runtime.webPod().container('counter')
    this.staged = join(folder.checkpoints, STAGING_FOLDER, STAGING_ID, 'archive.tar')
    this.published = join(folder.checkpoints, formatArchiveName({ ...this.identity, takenAt: STARTED }))
    mkdirSync(join(folder.checkpoints, STAGING_FOLDER, STAGING_ID), { recursive: true, mode: 0o700 })
  }

  static async make(is = 'containerd 2.1.9'): Promise<Leftovers> {
    const folder = makeTestFolder()
    const socketPath = join(folder.path, 'runtime.sock')
    // containerd says by itself what is paused; a cgroup tree costs each runtime a hundred looks a second.
    const freezer = is.startsWith('cri-o') ? ({ root: join(folder.path, 'cgroup'), version: 'v2' } as const) : undefined
    const options = { socketPath, is, taskStateTimeoutMs: 30, ...(freezer !== undefined && { freezer }) }
    return new Leftovers(folder, await startSimulatedRuntime(options))
  }

  get identity() {
    return {
      namespace: 'shop',
      pod: 'web-node-a',
      podUid: 'uid',
      container: 'counter',
      containerId: this.counter.id,
    }
  }

  /** A row as it was when the agent died. */
  remember(state: CaptureState, traces: CaptureTraces, { pin = false } = {}): void {
    const database = openDatabase({
      file: join(this.folder.state, 'index.db'),
      clock: systemClock,
      logger: silentLogger,
    })
    const store = new JobStore(database)
    const capture: ContainerCapture = {
      identity: this.identity,
      state,
      bytesWritten: 0,
      phases: [],
      ...(state !== 'queued' && { startedAt: STARTED }),
    }
    store.insert({
      id: JOB,
      requestedBy: 'ada',
      wholePod: false,
      pin,
      queuedAt: STARTED,
      captures: [capture],
    })
    store.trace(JOB, 0, traces)
    database.close()
  }

  start(): Agent {
    this.#agent = startAgent(agentOptions(this.folder, this.runtime.socketPath, { logger: this.logger }))
    return this.#agent
  }

  async stop(): Promise<void> {
    await this.#agent?.captures.shutDown(0)
    await this.#agent?.stop()
    this.#agent = undefined
  }

  /** The capture when the agent is through with it, and its staging folder is gone. */
  async recovered(): Promise<ContainerCapture> {
    const agent = this.#agent ?? this.start()
    await vi.waitUntil(() => isFinal(jobState(agent.captures.get(JOB))), { interval: 20, timeout: 30_000 })
    await vi.waitUntil(() => stagingFolders(this.folder.checkpoints).length === 0, { interval: 20, timeout: 5_000 })
    const [capture] = agent.captures.get(JOB).captures
    if (capture === undefined) throw new Error('the job has no capture')
    return capture
  }

  archives(): string[] {
    return readdirSync(this.folder.checkpoints).filter((name) => !name.startsWith('.'))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
    await this.runtime.stop()
    this.folder.remove()
  }
}

const RUNNING = { stagingId: STAGING_ID, wasPaused: false, dumpMayTakeMs: 300 }

describe.concurrent('an agent that starts', () => {
  it('gives a whole archive in staging its name, of the time when the capture began', async () => {
    await using left = await Leftovers.make()
    left.remember('running', RUNNING, { pin: true })
    const { sizeBytes } = writeArchive(left.staged)
    const capture = await left.recovered()
    expect(capture).toMatchObject({ state: 'succeeded', archive: { sizeBytes, takenAt: STARTED } })
    expect(join(left.folder.checkpoints, capture.archive?.fileName ?? '')).toBe(left.published)
    expect(archiveProblem(left.published)).toBeUndefined()
    expect(statSync(left.published).mode & 0o777).toBe(0o600)
    expect(JSON.parse(readFileSync(`${left.published}.keep`, 'utf8'))).toMatchObject({ user: 'ada' })
  })

  it.each([
    { name: 'half an archive', write: (path: string) => writeFileSync(path, wholeArchive().subarray(0, 10_000)) },
    { name: 'an empty file', write: (path: string) => writeFileSync(path, '') },
    { name: 'zeros, as after a power cut', write: (path: string) => writeFileSync(path, Buffer.alloc(50_000)) },
    {
      name: 'an archive with a stale tail',
      write: (path: string) => writeFileSync(path, Buffer.concat([wholeArchive(), Buffer.alloc(4096, 'stale')])),
    },
    { name: 'a folder', write: (path: string) => mkdirSync(path) },
    { name: 'nothing', write: () => undefined },
  ])('removes $name, and says that the outcome is not known', async ({ write }) => {
    await using left = await Leftovers.make()
    left.remember('running', RUNNING)
    write(left.staged)
    expect(await left.recovered()).toMatchObject({ state: 'unknown-outcome', failure: { code: 'AgentRestarted' } })
    expect(left.archives()).toEqual([])
    expect(left.counter.canExec).toBe(true)
  })

  it('waits for an archive that is still being written', async () => {
    await using left = await Leftovers.make()
    left.remember('running', RUNNING)
    const bytes = wholeArchive()
    writeFileSync(left.staged, bytes.subarray(0, 512))
    left.start()
    for (let at = 512; at < bytes.length; at += 16 * 1024) {
      await sleep(200)
      appendFileSync(left.staged, bytes.subarray(at, at + 16 * 1024))
    }
    expect(await left.recovered()).toMatchObject({ state: 'succeeded', archive: { sizeBytes: bytes.length } })
  })

  it('knows its archive by the inode where it has its name already', async () => {
    await using left = await Leftovers.make()
    const { sizeBytes } = writeArchive(left.staged)
    linkSync(left.staged, left.published)
    const publishedName = formatArchiveName({ ...left.identity, takenAt: STARTED })
    left.remember('sealing', { ...RUNNING, publishedName, publishedInode: statSync(left.published).ino })
    expect(await left.recovered()).toMatchObject({
      state: 'succeeded',
      archive: { fileName: publishedName, sizeBytes },
    })
    expect(statSync(left.published).nlink).toBe(1)
    expect(left.archives()).toEqual([publishedName])
  })

  it("does not take somebody else's file for its own because of the name", async () => {
    await using left = await Leftovers.make()
    writeArchive(left.staged)
    writeFileSync(left.published, "somebody else's")
    const publishedName = formatArchiveName({ ...left.identity, takenAt: STARTED })
    left.remember('sealing', { ...RUNNING, publishedName, publishedInode: statSync(left.staged).ino })
    const capture = await left.recovered()
    expect(capture.state).toBe('succeeded')
    expect(capture.archive?.fileName).not.toBe(publishedName)
    expect(readFileSync(left.published, 'utf8')).toBe("somebody else's")
    expect(left.archives()).toHaveLength(2)
  })

  it('finds no archive under an announced name that was never given', async () => {
    await using left = await Leftovers.make()
    left.remember('sealing', { ...RUNNING, publishedName: 'x.tar', publishedInode: 7 })
    expect(await left.recovered()).toMatchObject({ state: 'unknown-outcome' })
  })

  it('ends a capture that had not begun, and never touches its container', async () => {
    await using left = await Leftovers.make()
    left.remember('queued', {})
    expect(await left.recovered()).toMatchObject({ state: 'failed', failure: { code: 'AgentRestarted' } })
    expect(left.runtime.calls.checkpoints(left.counter.id)).toEqual([])
  })

  it('removes a staging folder that no row speaks of, and says so', async () => {
    await using left = await Leftovers.make()
    writeFileSync(left.staged, 'x')
    left.start()
    await vi.waitUntil(() => !existsSync(left.staged), { timeout: 10_000 })
    await vi.waitUntil(() => stagingFolders(left.folder.checkpoints).length === 0, { timeout: 10_000 })
    expect(left.logger.lines).toContainEqual({
      level: 'warn',
      fields: { stagingId: STAGING_ID },
      message: 'Removing a staging directory that no capture of the index claims',
    })
  })

  it('frees a container that the abandoned dump left frozen, and holds it until then', async () => {
    await using left = await Leftovers.make()
    left.remember('running', RUNNING)
    left.counter.pause()
    const agent = left.start()
    const wish = { namespace: 'shop', pod: 'web-node-a', container: 'counter', requestedBy: 'test' }
    await expect(agent.captures.request(wish)).rejects.toMatchObject({ code: 'CaptureInFlight', extra: { job: JOB } })
    const next = await agent.captures.requestBehind(wish)
    expect(await left.recovered()).toMatchObject({ state: 'unknown-outcome' })
    expect(left.counter.canExec).toBe(true)
    expect(left.logger.lines.map(({ message }) => message)).toContain('Resumed a container that a dump had left frozen')
    expect(jobState(await agent.captures.wait(next.id, {}))).toBe('succeeded')
    expect(left.runtime.calls.overlaps).toBe(0)
  })

  it('leaves a container paused that was paused before its capture', async () => {
    await using left = await Leftovers.make()
    left.remember('running', { ...RUNNING, wasPaused: true })
    writeArchive(left.staged)
    left.counter.pause()
    expect(await left.recovered()).toMatchObject({ state: 'succeeded' })
    await sleep(500)
    expect(left.counter.task).toBe('paused')
  })

  it.each([
    { name: 'in whose capture the dump had not begun', traces: { stagingId: STAGING_ID, dumpMayTakeMs: 300 } },
    { name: 'that nobody saw run before', traces: { ...RUNNING, wasPaused: true } },
  ])('leaves a container paused $name', async ({ traces }) => {
    await using left = await Leftovers.make()
    left.remember('running', traces)
    left.counter.pause()
    expect(await left.recovered()).toMatchObject({ state: 'unknown-outcome' })
    await sleep(1_000)
    expect(left.counter.task).toBe('paused')
  })

  it('leaves a container paused whose dump had ended: somebody else paused it', async () => {
    await using left = await Leftovers.make()
    left.remember('sealing', RUNNING)
    writeArchive(left.staged)
    left.counter.pause()
    expect(await left.recovered()).toMatchObject({ state: 'succeeded' })
    await sleep(1_000)
    expect(left.counter.task).toBe('paused')
  })

  it('holds staging and container for as long as a dump on CRI-O may take, though the container seems to run', async () => {
    await using left = await Leftovers.make('cri-o 1.36.3')
    left.remember('running', { ...RUNNING, dumpMayTakeMs: 10_000 })
    const agent = left.start()
    // Once, two seconds of THAWED were enough.
    await sleep(3_000)
    expect(stagingFolders(left.folder.checkpoints)).toEqual([STAGING_ID])
    expect(agent.captures.findInFlight(left.counter.id)).toBe(JOB)
    writeArchive(left.staged)
    expect(await left.recovered()).toMatchObject({ state: 'succeeded' })
    expect(archiveProblem(left.published)).toBeUndefined()
  })

  it('frees a container that CRI-O left paused, as CRI-O does it', async () => {
    await using left = await Leftovers.make('cri-o 1.36.3')
    left.remember('running', RUNNING)
    left.counter.pause()
    expect(await left.recovered()).toMatchObject({ state: 'unknown-outcome' })
    await vi.waitUntil(() => left.counter.canExec, { timeout: 10_000 })
  })

  it('holds the staging folder of a capture that has ended, while CRI-O may still write to it', async () => {
    await using left = await Leftovers.make('cri-o 1.36.3')
    left.remember('failed', { ...RUNNING, dumpMayTakeMs: 8_000 })
    writeFileSync(left.staged, 'x')
    const agent = left.start()
    await sleep(1_000)
    expect(existsSync(left.staged)).toBe(true)
    expect(agent.captures.findInFlight(left.counter.id)).toBe(JOB)
    await vi.waitUntil(() => stagingFolders(left.folder.checkpoints).length === 0, { timeout: 25_000 })
    await vi.waitUntil(() => agent.captures.findInFlight(left.counter.id) === undefined, { timeout: 5_000 })
  })

  it('does not mind a container that has gone meanwhile', async () => {
    await using left = await Leftovers.make()
    left.remember('running', RUNNING)
    left.runtime.pods.removeContainer(left.counter)
    expect(await left.recovered()).toMatchObject({ state: 'unknown-outcome' })
  })

  it('and is stopped before it is through leaves the rest to the next one', async () => {
    await using left = await Leftovers.make()
    left.remember('running', RUNNING)
    writeArchive(left.staged)
    left.start()
    await sleep(100)
    await left.stop()
    expect(existsSync(left.staged)).toBe(true)
    expect(await left.recovered()).toMatchObject({ state: 'succeeded' })
  })

  it('while the runtime is away: it ends what can be ended when the runtime is back', async () => {
    await using left = await Leftovers.make()
    left.remember('running', { ...RUNNING, dumpMayTakeMs: 2_000 })
    writeArchive(left.staged)
    await left.runtime.stop('stale')
    left.start()
    await sleep(500)
    await left.runtime.start()
    expect(await left.recovered()).toMatchObject({ state: 'succeeded' })
    expect(archiveProblem(left.published)).toBeUndefined()
  })

  it('keeps the archive in staging while its marker cannot be written, and says so', async () => {
    await using left = await Leftovers.make()
    left.remember('running', RUNNING, { pin: true })
    writeArchive(left.staged)
    mkdirSync(`${left.staged}.keep`)
    const agent = left.start()
    await vi.waitUntil(() => isFinal(jobState(agent.captures.get(JOB))), { interval: 20, timeout: 30_000 })
    expect(agent.captures.get(JOB).captures[0]).toMatchObject({ state: 'failed', failure: { isArchiveKept: true } })
    expect(left.archives()).toEqual([])
    expect(archiveProblem(left.staged)).toBeUndefined()
  })

  it('takes its own marker from a name that the archive did not get before the crash', async () => {
    await using left = await Leftovers.make()
    writeArchive(left.staged)
    writeFileSync(`${left.staged}.keep`, '{}')
    // The second after: the one before was taken then, and is free by now.
    const publishedName = formatArchiveName({ ...left.identity, takenAt: new Date(STARTED.getTime() + 1_000) })
    linkSync(`${left.staged}.keep`, join(left.folder.checkpoints, `${publishedName}.keep`))
    const traces = { ...RUNNING, publishedName, publishedInode: statSync(left.staged).ino }
    left.remember('sealing', traces, { pin: true })
    const { archive } = await left.recovered()
    const name = archive?.fileName ?? ''
    expect(join(left.folder.checkpoints, name)).toBe(left.published)
    expect(left.archives().toSorted()).toEqual([name, `${name}.keep`])
    expect(JSON.parse(readFileSync(`${left.published}.keep`, 'utf8'))).toMatchObject({ user: 'ada' })
  })

  it('pins a published archive whose marker a power cut took away', async () => {
    await using left = await Leftovers.make()
    writeArchive(left.staged)
    linkSync(left.staged, left.published)
    const publishedName = formatArchiveName({ ...left.identity, takenAt: STARTED })
    const traces = { ...RUNNING, publishedName, publishedInode: statSync(left.published).ino }
    left.remember('sealing', traces, { pin: true })
    expect(await left.recovered()).toMatchObject({ state: 'succeeded' })
    expect(JSON.parse(readFileSync(`${left.published}.keep`, 'utf8'))).toMatchObject({ user: 'ada' })
  })

  it('keeps a whole archive that no row speaks of, and says so', async () => {
    await using left = await Leftovers.make()
    writeArchive(left.staged)
    const agent = left.start()
    await vi.waitUntil(async () => (await agent.status(undefined)).captures.unpublished === 1, { timeout: 10_000 })
    expect(archiveProblem(left.staged)).toBeUndefined()
    expect(left.logger.lines).toContainEqual({
      level: 'error',
      fields: { stagingId: STAGING_ID },
      message: expect.stringMatching(/^Keeping a whole archive in staging that no capture of the index claims/),
    })
  })

  it('removes what an ended capture left in staging beside its published archive', async () => {
    await using left = await Leftovers.make()
    writeArchive(left.staged)
    linkSync(left.staged, left.published)
    left.remember('failed', RUNNING)
    left.start()
    await vi.waitUntil(() => stagingFolders(left.folder.checkpoints).length === 0, { timeout: 10_000 })
    expect(statSync(left.published).nlink).toBe(1)
  })
})

function wholeArchive(): Buffer {
  return Buffer.concat([...buildArchive().chunks()])
}
