import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { status as Code } from '@grpc/grpc-js'
import { afterAll, describe, expect, it, vi } from 'vitest'
import { STAGING_FOLDER } from '../../../src/agent/directory/staging.ts'
import type { CaptureJob } from '../../../src/checkpoint/capture-job.ts'
import { archiveProblem } from '../../support/archive-check.ts'
import type { SimulatedContainer } from '../../support/simulated-container.ts'
import {
  crunCannotDump,
  establishedTcp,
  fails,
  slow,
  type CheckpointScript,
} from '../../support/simulated-runtime-faults.ts'
import { startTestAgent, type TestAgent } from '../../support/test-agent.ts'

// They wait for seconds and do nothing meanwhile.
vi.setConfig({ maxConcurrency: 12, testTimeout: 60_000 })

const COUNTER = { namespace: 'shop', pod: 'web-node-a', container: 'counter', requestedBy: 'test' }
/** A pause of a small container that is older than this was taken for the dump's, whoever it was. */
const LONGER_THAN_A_DUMP_MS = 6_500

const cgroups = mkdtempSync(join(tmpdir(), 'pauses-'))
afterAll(() => rmSync(cgroups, { recursive: true }))
let trees = 0

interface Started extends AsyncDisposable {
  readonly test: TestAgent
  readonly counter: SimulatedContainer
}

interface Node {
  readonly is: string
  readonly version: 'v1' | 'v2'
  readonly subgroup?: string
}

const CONTAINERD: Node = { is: 'containerd 2.4.2', version: 'v2' }
const NODES: readonly Node[] = [
  CONTAINERD,
  { is: 'cri-o 1.36.3', version: 'v1' },
  // crun with the systemd manager: what `crio config --default` comes to.
  { is: 'cri-o 1.36.3 crun', version: 'v2', subgroup: 'container' },
]
const CRIO = NODES.filter(({ is }) => is.startsWith('cri-o'))

async function start(
  { is, ...tree }: Node,
  { isMounted = true, storage }: { isMounted?: boolean; storage?: string } = {},
) {
  const root = join(cgroups, String(++trees))
  const test = await startTestAgent(
    { freezeGuard: { cgroupRoot: isMounted ? root : join(root, 'nothing') } },
    { is, freezer: { root, ...tree }, taskStateTimeoutMs: 30, ...(storage !== undefined && { storage }) },
  )
  const counter = test.runtime.webPod().container('counter')
  const started: Started = { test, counter, [Symbol.asyncDispose]: () => test[Symbol.asyncDispose]() }
  return started
}

async function capture(test: TestAgent, script: CheckpointScript = {}): Promise<CaptureJob> {
  test.runtime.faults.next(script)
  const { id } = await test.agent.captures.request(COUNTER)
  return await test.agent.captures.wait(id, {})
}

function outcomeOf({ captures: [only] }: CaptureJob): string {
  return [only?.state, only?.failure?.code].filter((part) => part !== undefined).join(' ')
}

async function until(isSo: () => boolean): Promise<void> {
  await vi.waitUntil(isSo, { interval: 10, timeout: 40_000 })
}

/** What the custody log says of resumes. */
async function resumesOnRecord({ agent }: TestAgent) {
  const { entries } = await agent.custody.page({ after: 0, limit: 1000 })
  return entries.filter(({ action }) => action === 'freeze.resume')
}

async function expectNotResumed(test: TestAgent, counter: SimulatedContainer): Promise<void> {
  await sleep(LONGER_THAN_A_DUMP_MS)
  expect(counter.isFrozen).toBe(true)
  expect(counter.task).toBe('paused')
  expect(await resumesOnRecord(test)).toEqual([])
  expect((await test.agent.status(undefined)).freezeGuard.resumedTotal).toBe(0)
}

describe.concurrent.each(NODES)('whose pause it is, on $is, cgroup $version', (node) => {
  it("somebody else's after a dump that failed, once the container was seen to run", async () => {
    await using started = await start(node)
    const { test, counter } = started
    expect(outcomeOf(await capture(test, establishedTcp))).toBe('failed TcpEstablished')
    counter.pause()
    await expectNotResumed(test, counter)
  })

  it('ours after a dump that failed and left it paused: it is resumed as the runtime would, and that is on record', async () => {
    await using started = await start(node)
    const { test, counter } = started
    const job = await capture(test, { ...fails(Code.UNKNOWN, 'something new'), leavesFrozen: true, failsAt: 'dump' })
    expect(outcomeOf(job)).toBe('failed Unclassified')
    await until(() => counter.canExec)
    await vi.waitFor(async () => {
      const entries = await resumesOnRecord(test)
      expect(entries).toMatchObject([
        { outcome: 'intended', detail: { containerId: counter.id, origin: 'own', job: job.id } },
        { outcome: 'done', detail: { identity: { namespace: 'shop', pod: 'web-node-a', container: 'counter' } } },
      ])
    }, 20_000)
    await vi.waitFor(async () => {
      expect((await test.agent.status(undefined)).freezeGuard.resumedTotal).toBe(1)
    }, 20_000)
    counter.pause()
    await sleep(3_000)
    expect(counter.isFrozen).toBe(true)
  })

  it("somebody else's before the capture: that is refused, and it stays paused", async () => {
    await using started = await start(node)
    const { test, counter } = started
    counter.pause()
    await expect(test.agent.captures.request(COUNTER)).rejects.toMatchObject({ code: 'ContainerPaused' })
    expect(test.runtime.calls.checkpoints(counter.id)).toEqual([])
    await sleep(2_500)
    expect(counter.isFrozen).toBe(true)
  })

  it("nobody's where it cannot be told: the capture is refused after a few seconds", async () => {
    await using started = await start(node)
    const { test, counter } = started
    makeUnknown(node, counter)
    const begun = performance.now()
    await expect(test.agent.captures.request(COUNTER)).rejects.toMatchObject({ code: 'FreezeUnknown' })
    expect(performance.now() - begun).toBeGreaterThanOrEqual(2_500)
    expect(test.runtime.calls.checkpoints(counter.id)).toEqual([])
    expect(await resumesOnRecord(test)).toEqual([])
  })

  it("the capture's while the container waits for its turn only if it still runs then", async () => {
    await using started = await start(node)
    const { test, counter } = started
    test.runtime.addPod({ namespace: 'shop', name: 'other', containers: [{ name: 'a' }] })
    test.runtime.faults.next(slow(1_200))
    await test.agent.captures.request({ namespace: 'shop', pod: 'other', container: 'a', requestedBy: 'test' })
    const { id } = await test.agent.captures.request(COUNTER)
    counter.pause()
    expect(outcomeOf(await test.agent.captures.wait(id, {}))).toBe('failed ContainerPaused')
    expect(test.runtime.calls.checkpoints(counter.id)).toEqual([])
    expect(counter.isFrozen).toBe(true)
  })
})

/** A paused container whose shim does not answer; a cgroup of which a part cannot be read. */
function makeUnknown({ is }: Node, counter: SimulatedContainer): void {
  if (is.startsWith('containerd')) {
    counter.pause()
    counter.occupyShim(new Promise(() => undefined))
    return
  }
  const scope = dirname(counter.cgroup?.folder ?? '')
  const child = is.includes('crun') ? scope : join(counter.cgroup?.folder ?? '', 'child')
  rmSync(join(child, 'cgroup.procs'), { force: true })
  // Root can read every file; a folder in its place is none.
  mkdirSync(join(child, 'cgroup.procs'), { recursive: true })
  if (!is.includes('crun')) writeFileSync(join(child, 'freezer.state'), 'THAWED')
}

describe.concurrent('a node on which nobody can see pauses', () => {
  it('takes checkpoints, says that it cannot look, and resumes nothing', async () => {
    await using started = await start({ is: 'cri-o 1.36.3', version: 'v2' }, { isMounted: false })
    const { test, counter } = started
    expect(outcomeOf(await capture(test))).toBe('succeeded')
    const { freezeGuard } = await test.agent.status(undefined)
    expect(freezeGuard.canLook).toBe(false)
    const job = await capture(test, { ...fails(Code.UNKNOWN, 'something new'), leavesFrozen: true })
    expect(outcomeOf(job)).toBe('failed Unclassified')
    await expectNotResumed(test, counter)
  })
})

describe.concurrent.each(CRIO)('a dump on $is, cgroup $version', (node) => {
  it('is not over because the freezer says THAWED, and what is written after the connection was lost is adopted', async () => {
    await using started = await start(node)
    const { test, counter } = started
    // By what is known of it, a dump of it may take fifteen seconds.
    counter.writableLayerBytes = 400 * 1024 * 1024
    test.runtime.faults.next({ tracedMs: 4_000, dumpMs: 300 })
    const { id } = await test.agent.captures.request(COUNTER)
    await until(() => test.runtime.dumpsRunning === 1)
    test.runtime.dropConnections()
    await sleep(3_000)
    // Thawed for longer than what counted as over once: the folder is still there, and so is the hold on the container.
    expect(counter.canExec).toBe(false)
    expect(test.leftovers()).toEqual([`${id}-0`])
    expect(test.agent.captures.findInFlight(counter.id)).toBe(id)
    expect(outcomeOf(await test.agent.captures.wait(id, {}))).toBe('succeeded')
    await until(() => test.leftovers().length === 0)
    expect(archiveProblem(join(test.folder.checkpoints, test.archives()[0] ?? ''))).toBeUndefined()
    expect(test.runtime.calls.overlaps).toBe(0)
  })

  it('is not cancelled on the wire; given up, it is adopted when the runtime answers', async () => {
    const storage = mkdtempSync(join(cgroups, 'storage-'))
    await using started = await start(node, { storage })
    const { test, counter } = started
    test.runtime.faults.next({ dumpMs: 1_500 })
    const { id } = await test.agent.captures.request(COUNTER)
    await until(() => counter.isFrozen)
    expect(outcomeOf(await test.agent.captures.cancel(id))).toBe('succeeded')
    expect(test.runtime.calls.checkpoints(counter.id)).toMatchObject([{ hasDeadline: false, outcome: 'ok' }])
    expect(existsSync(join(storage, counter.id, 'userdata', 'checkpoint'))).toBe(false)
    expect(existsSync(join(test.folder.checkpoints, STAGING_FOLDER, `${id}-0`))).toBe(false)
  })

  it('that fails after it was given up ends as cancelled', async () => {
    await using started = await start(node)
    const { test, counter } = started
    test.runtime.faults.next({ ...crunCannotDump, dumpMs: 1_500 })
    const { id } = await test.agent.captures.request(COUNTER)
    await until(() => counter.isFrozen)
    expect(outcomeOf(await test.agent.captures.cancel(id))).toBe('cancelled CaptureCancelled')
    expect(test.leftovers()).toEqual([])
    expect(counter.canExec).toBe(true)
  })
})
