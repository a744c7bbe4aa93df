import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setImmediate, setTimeout as sleep } from 'node:timers/promises'
import { afterAll, describe, expect, it, vi } from 'vitest'
import { STAGING_FOLDER } from '../../../src/agent/directory/staging.ts'
import { isFinal, jobState, type CaptureJob } from '../../../src/checkpoint/capture-job.ts'
import { archiveProblem } from '../../support/archive-check.ts'
import type { SimulatedContainer } from '../../support/simulated-container.ts'
import {
  criuFails,
  dropsConnection,
  hangs,
  leavesFrozen,
  slow,
  type CheckpointScript,
} from '../../support/simulated-runtime-faults.ts'
import { recordingLogger, startTestAgent, type AgentSettings, type TestAgent } from '../../support/test-agent.ts'

// They wait for seconds and do nothing meanwhile: a container must have run on for a while before it is let go. All at
// once they would begin in one turn, which takes a busy machine longer than the guard waits for a dump.
vi.setConfig({ maxConcurrency: 8, testTimeout: 40_000 })

const COUNTER = { namespace: 'shop', pod: 'web-node-a', container: 'counter', requestedBy: 'test' }
const MIB = 1024 * 1024
const RUNTIMES = ['containerd 2.1.9', 'containerd 2.4.2', 'cri-o 1.36.3']

const cgroups = mkdtempSync(join(tmpdir(), 'cgroups-'))
afterAll(() => rmSync(cgroups, { recursive: true }))
let trees = 0

interface Started extends AsyncDisposable {
  readonly test: TestAgent
  readonly counter: SimulatedContainer
}

/** With a cgroup tree, so that freezes can be seen on every runtime. */
async function start(is: string, settings: AgentSettings = {}): Promise<Started> {
  const root = join(cgroups, String(++trees))
  const test = await startTestAgent(
    { ...settings, freezeGuard: { cgroupRoot: root, ...settings.freezeGuard } },
    { is, freezer: { root, version: 'v2' }, taskStateTimeoutMs: 30 },
  )
  const counter = test.runtime.webPod().container('counter')
  return { test, counter, [Symbol.asyncDispose]: () => test[Symbol.asyncDispose]() }
}

async function begin(test: TestAgent, script: CheckpointScript): Promise<string> {
  test.runtime.faults.next(script)
  const { id } = await test.agent.captures.request(COUNTER)
  await until(() => test.runtime.dumpsRunning === 1)
  return id
}

/** `expect.poll` belongs to one test at a time. */
async function until(isSo: () => boolean): Promise<void> {
  await vi.waitUntil(isSo, { interval: 10, timeout: 25_000 })
}

/** However late the cancel comes, the dump is under way; it is over so much later. */
const dumpsUntilCancelled = (windDownMs: number): CheckpointScript => ({ ...hangs, windDownMs })

/** The last bytes of an archive are zeros; those of a part of it hardly ever, and then `archiveProblem` knows. */
function isStagedWhole(test: TestAgent, id: string): boolean {
  const path = join(test.folder.checkpoints, STAGING_FOLDER, `${id}-0`, 'archive.tar')
  if (!existsSync(path)) return false
  const tail = readFileSync(path).subarray(-1024)
  return tail.length === 1024 && tail.every((byte) => byte === 0) && archiveProblem(path) === undefined
}

const bytesWritten = (test: TestAgent, id: string) => test.agent.captures.get(id).captures[0]?.bytesWritten ?? 0

/** The state of its only capture, and why. */
function outcomeOf({ captures: [capture] }: CaptureJob): string {
  return [capture?.state, capture?.failure?.code].filter((part) => part !== undefined).join(' ')
}

/** What must hold however a capture ended. */
async function expectNoTrace(test: TestAgent, counter: SimulatedContainer): Promise<void> {
  await until(() => counter.canExec)
  expect(test.leftovers()).toEqual([])
  for (const name of test.archives()) expect(archiveProblem(join(test.folder.checkpoints, name))).toBeUndefined()
  expect(test.runtime.calls.overlaps).toBe(0)
}

/** The container is free again, and can be captured again. */
async function expectNextWorks(test: TestAgent): Promise<void> {
  const { id } = await test.agent.captures.requestBehind(COUNTER)
  expect(jobState(await test.agent.captures.wait(id, {}))).toBe('succeeded')
}

describe.concurrent.each(RUNTIMES)('a capture that is cancelled, on %s', (is) => {
  /** It finishes what it has begun, archive and all: then it is a good one. */
  const isCrio = is.startsWith('cri-o')
  /** There the call goes on, and its dump does not end because of the cancel. */
  const dumps = (windDownMs: number, longMs: number) => (isCrio ? slow(longMs) : dumpsUntilCancelled(windDownMs))

  it('while the runtime dumps: the container runs, nothing is left, and the next one works', async () => {
    await using started = await start(is)
    const { test, counter } = started
    const id = await begin(test, dumps(700, 1_500))
    const job = await test.agent.captures.cancel(id)
    expect(outcomeOf(job)).toBe(isCrio ? 'succeeded' : 'cancelled CaptureCancelled')
    expect(test.archives()).toHaveLength(isCrio ? 1 : 0)
    await expectNoTrace(test, counter)
    expect(test.runtime.calls.checkpoints(counter.id)).toMatchObject([
      { hasDeadline: false, outcome: isCrio ? 'ok' : 'cancelled' },
    ])
    await expectNextWorks(test)
  })

  it('while the archive is written', async () => {
    await using started = await start(is)
    const { test, counter } = started
    counter.memoryBytes = 2 * MIB
    const id = await begin(test, { dumpMs: 1, exportBytesPerSecond: isCrio ? MIB : MIB / 4 })
    await until(() => bytesWritten(test, id) > 0)
    const job = await test.agent.captures.cancel(id)
    expect(outcomeOf(job)).toBe(isCrio ? 'succeeded' : 'cancelled CaptureCancelled')
    expect(test.archives()).toHaveLength(isCrio ? 1 : 0)
    await expectNoTrace(test, counter)
  })

  it('after the runtime has written it, though it has not answered: it is kept', async () => {
    await using started = await start(is)
    const { test, counter } = started
    const id = await begin(test, { dumpMs: 1, cleanupMs: isCrio ? 1_000 : 20_000 })
    await until(() => isStagedWhole(test, id))
    const job = await test.agent.captures.cancel(id)
    expect(job.captures).toMatchObject([{ state: 'succeeded' }])
    expect(test.archives()).toHaveLength(1)
    await expectNoTrace(test, counter)
  })

  it('and goes over its own limit ends as timed out, and the container runs', async () => {
    await using started = await start(is, { capture: { maxDurationMs: 3_000 } })
    const { test, counter } = started
    test.runtime.faults.next(dumps(300, 4_000))
    const { id } = await test.agent.captures.request(COUNTER)
    const job = await test.agent.captures.wait(id, {})
    expect(outcomeOf(job)).toBe(isCrio ? 'succeeded' : 'failed CaptureTimedOut')
    await expectNoTrace(test, counter)
  })

  it('with the agent, after the grace, leaves nothing behind', async () => {
    await using started = await start(is)
    const { test, counter } = started
    const id = await begin(test, dumps(300, 1_500))
    await test.agent.captures.shutDown(100)
    const job = test.agent.captures.get(id)
    expect(outcomeOf(job)).toBe(isCrio ? 'succeeded' : 'cancelled ShuttingDown')
    await expectNoTrace(test, counter)
  })
})

describe.concurrent('a cancel', () => {
  it('that comes while the archive is sealed is too late, and says so', async () => {
    await using started = await start('containerd 2.1.9')
    const { test, counter } = started
    counter.memoryBytes = 48 * MIB
    const id = await begin(test, slow(1))
    while (state(test, id) === 'running') await setImmediate()
    expect(state(test, id)).toBe('sealing')
    const job = await test.agent.captures.cancel(id)
    expect(job.captures).toMatchObject([{ state: 'succeeded' }])
    expect(test.archives()).toHaveLength(1)
    await expectNoTrace(test, counter)
  })

  it('of a whole pod ends what runs and what would follow', async () => {
    await using started = await start('containerd 2.1.9')
    const { test } = started
    const pod = test.runtime.addPod({ namespace: 'shop', name: 'duo', containers: [{ name: 'a' }, { name: 'b' }] })
    test.runtime.faults.always(dumpsUntilCancelled(200))
    const { id } = await test.agent.captures.request({ namespace: 'shop', pod: 'duo', requestedBy: 'test' })
    await until(() => test.runtime.dumpsRunning === 1)
    const job = await test.agent.captures.cancel(id)
    expect(job.captures.map((each) => each.state)).toEqual(['cancelled', 'cancelled'])
    const dumps = pod.containers.map((container) => test.runtime.calls.checkpoints(container.id).length)
    expect(dumps.toSorted((a, b) => a - b)).toEqual([0, 1])
    expect(test.archives()).toEqual([])
    expect(test.leftovers()).toEqual([])
  })

  it('keeps the container to itself until its dump is over', async () => {
    await using started = await start('containerd 2.1.9')
    const { test, counter } = started
    const id = await begin(test, dumpsUntilCancelled(300))
    const cancelled = test.agent.captures.cancel(id)
    await expect(test.agent.captures.request(COUNTER)).rejects.toMatchObject({ code: 'CaptureInFlight' })
    const behind = await test.agent.captures.requestBehind(COUNTER)
    await cancelled
    expect(jobState(await test.agent.captures.wait(behind.id, {}))).toBe('succeeded')
    await expectNoTrace(test, counter)
  })
})

describe.concurrent.each(RUNTIMES)('a runtime that lets go in the middle: %s', (is) => {
  it.each(['dump', 'export'] as const)('of the connection, in the %s', async (phase) => {
    await using started = await start(is)
    const { test, counter } = started
    // By what is known of it, its dump may take a quarter of a minute: enough for a busy machine.
    counter.writableLayerBytes = 400 * MIB
    test.runtime.faults.next({ dumpMs: 150, ...dropsConnection(phase) })
    const { id } = await test.agent.captures.request(COUNTER)
    const job = await test.agent.captures.wait(id, {})
    // CRI-O does not mind, and what it writes is waited for.
    const isCrio = is.startsWith('cri-o')
    expect(outcomeOf(job)).toBe(isCrio ? 'succeeded' : 'failed RuntimeUnavailable')
    await test.runtime.dumpsOver()
    expect(test.archives()).toHaveLength(isCrio ? 1 : 0)
    await expectNoTrace(test, counter)
    await expectNextWorks(test)
  })
})

describe.concurrent('a container that is left frozen', () => {
  it('by a runtime that was restarted in the middle is resumed, counted and free again', async () => {
    const logger = recordingLogger()
    await using started = await start('containerd 2.1.9', { logger })
    const { test, counter } = started
    const id = await begin(test, hangs)
    await until(() => counter.isFrozen)
    await test.runtime.restart()
    const job = await test.agent.captures.wait(id, {})
    expect(job.captures).toMatchObject([{ state: 'failed', failure: { code: 'RuntimeUnavailable' } }])
    expect(counter.isFrozen).toBe(true)
    expect(test.leftovers()).toEqual([])
    // Its job has ended, and it is not let go yet.
    expect(test.agent.captures.findInFlight(counter.id)).toBe(id)
    await expectNoTrace(test, counter)
    // The agent hears of it a moment later than the container.
    await until(() => logger.lines.some(({ message }) => message === 'Resumed a container that a dump had left frozen'))
    const { freezeGuard } = await test.agent.status(undefined)
    expect(freezeGuard).toMatchObject({ resumedTotal: 1, foreignResumedTotal: 0 })
    const { text } = await test.agent.metrics.render()
    expect(text).toContain('checkpoint_agent_containers_resumed_total{origin="own"} 1')
  })

  it('by a failed dump on cri-o is thawed', async () => {
    await using started = await start('cri-o 1.36.3')
    const { test, counter } = started
    test.runtime.faults.next({ ...leavesFrozen, failure: () => ({ code: 2, details: 'something new' }) })
    const { id } = await test.agent.captures.request(COUNTER)
    const job = await test.agent.captures.wait(id, {})
    expect(job.captures).toMatchObject([{ state: 'failed', failure: { code: 'Unclassified' } }])
    expect(counter.isFrozen).toBe(true)
    await until(() => !counter.isFrozen)
  })

  it('by the next capture on purpose is no business of the guard that watches after the last', async () => {
    await using started = await start('cri-o 1.36.3')
    const { test, counter } = started
    test.runtime.faults.next(criuFails)
    const failed = await test.agent.captures.request(COUNTER)
    await test.agent.captures.wait(failed.id, {})
    test.runtime.faults.next(slow(8_500))
    const { id } = await test.agent.captures.requestBehind(COUNTER)
    await until(() => counter.isFrozen)
    // Longer than its dump may take, by what is known of it.
    await sleep(6_000)
    expect(counter.isFrozen).toBe(true)
    expect(jobState(await test.agent.captures.wait(id, {}))).toBe('succeeded')
  })

  it('is captured by nobody else meanwhile', async () => {
    await using started = await start('containerd 2.1.9')
    const { test, counter } = started
    test.runtime.faults.next({ ...leavesFrozen, failure: () => ({ code: 2, details: 'something new' }) })
    const { id } = await test.agent.captures.request(COUNTER)
    await test.agent.captures.wait(id, {})
    await expect(test.agent.captures.request(COUNTER)).rejects.toMatchObject({
      code: 'CaptureInFlight',
      extra: { job: id },
    })
    await expectNoTrace(test, counter)
    await expectNextWorks(test)
  })
})

function state(test: TestAgent, id: string): ReturnType<typeof jobState> {
  const job: CaptureJob = test.agent.captures.get(id)
  const current = jobState(job)
  if (isFinal(current)) throw new Error(`the capture has ended already: ${JSON.stringify(job.captures[0])}`)
  return current
}
