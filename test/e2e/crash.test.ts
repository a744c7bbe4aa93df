import { statSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { STAGING_FOLDER } from '../../src/agent/directory/staging.ts'
import type { CaptureJobResponse } from '../../src/http/capture-api-types.ts'
import { FAIL_POINTS, type FailPoint } from '../../src/shared/fail-point.ts'
import type { AgentProcess } from '../support/agent-process.ts'
import { compileAgentOnce } from '../support/compiled-agent.ts'
import { readFreezerState } from './harness/cgroup-tree.ts'
import { hogPod, runWebPod, type HogPod } from './harness/test-pods.ts'
import { startAgentNode, type AgentNode } from './support/agent-node.ts'
import {
  beginCapture,
  captureAndWait,
  findJobs,
  getJob,
  getNode,
  readMetric,
  waitForEnd,
  type Wish,
} from './support/captures-client.ts'
import { archivesIn, cgroupOf, criuErrors, expectAlive, problemsIn, stagingIn } from './support/container-checks.ts'

const COUNTER: Wish = { namespace: 'shop', pod: 'web-node-a', container: 'counter' }
const HOG: Wish = { namespace: 'shop', pod: 'hog', container: 'hog' }
const HOG_MIB = 512

/** A dump begins with a freeze of some 50 ms; the one that counts lasts a second. */
const LONGER_THAN_A_BLINK_MS = 150

/** What the next agent finds: the capture never began, no archive was left, or a whole one. */
const ENDS: Readonly<Record<FailPoint, readonly string[]>> = {
  'capture.queued': ['failed'],
  'capture.admitted': ['unknown-outcome'],
  'capture.staged': ['unknown-outcome'],
  'capture.intended': ['unknown-outcome'],
  // The runtime may or may not have written it all before it noticed that nobody waits.
  'capture.dumping': ['unknown-outcome', 'succeeded'],
  'capture.dumped': ['succeeded'],
  'capture.verified': ['succeeded'],
  'capture.synced': ['succeeded'],
  'capture.named': ['succeeded'],
  'capture.marked': ['succeeded'],
  'capture.linked': ['succeeded'],
  'capture.unlinked': ['succeeded'],
  'capture.published': ['succeeded'],
  'capture.recorded': ['succeeded'],
}

compileAgentOnce()

describe.each(['2.1', '2.4'] as const)('after a crash, containerd %s', (containerd) => {
  let on: AgentNode
  let counter: string
  let hog: string
  let hogCgroup: string
  let filling: Promise<HogPod>

  beforeAll(async () => {
    on = await startAgentNode({ containerd, name: `crash-${containerd.replace('.', '-')}` })
    counter = (await runWebPod(on.node.admin, on.node.placement)).containers.counter
    // Its memory fills while the first tests run; the tests that need it wait for it.
    filling = hogPod(on.node.admin, on.node.placement, { sizeMiB: HOG_MIB })
    filling.catch(() => undefined)
  })
  afterAll(() => on.stop())
  beforeEach(({ onTestFailed }) => {
    onTestFailed(async () => {
      console.error(await criuErrors(on.node))
    })
  })

  describe('of the agent at a step of a capture', () => {
    it.each(FAIL_POINTS)('at %s', async (failPoint) => {
      const before = archivesIn(on.node.checkpointsDir)
      await dieAt([failPoint])
      expect(ENDS[failPoint]).toContain((await expectCleanUp(before)).state)
    })

    // What the next agent does with what is left is the same whatever the runtime.
    const inARow: readonly (readonly [FailPoint, FailPoint])[] =
      containerd === '2.1'
        ? [
            ['capture.dumped', 'capture.named'],
            ['capture.named', 'capture.linked'],
            ['capture.dumped', 'capture.unlinked'],
          ]
        : []
    it.each(inARow)('at %s, and of the next one at %s', async (...failPoints) => {
      const before = archivesIn(on.node.checkpointsDir)
      await dieAt(failPoints)
      expect((await expectCleanUp(before)).state).toBe('succeeded')
    })
  })

  describe('in the middle of a long dump', () => {
    beforeAll(async () => {
      hog = (await filling).containers.hog
      hogCgroup = await cgroupOf(on.node, hog)
    })

    it('of the agent', async () => {
      const before = archivesIn(on.node.checkpointsDir)
      const agent = await on.startAgent()
      const { id } = await beginCapture(agent, HOG)
      await sleep(1500)
      expect((await getJob(agent, id)).state).toBe('running')
      await agent.kill9()
      await expectCleanUp(before)
      await expectAlive(on.node, hog)
    })

    it('of nothing: an orderly end waits for the dump', async () => {
      const before = archivesIn(on.node.checkpointsDir)
      const agent = await on.startAgent()
      const { id } = await beginCapture(agent, HOG)
      await sleep(500)
      expect(await agent.sigterm()).toBe(0)
      expect(newArchives(before)).toHaveLength(1)
      expect(problemsIn(on.node.checkpointsDir)).toEqual([])
      expect(await getJob(await on.startAgent(), id)).toMatchObject({ state: 'succeeded' })
    })

    it('of containerd, while it writes the archive: the next capture works by itself', async () => {
      const agent = await on.startAgent()
      const before = archivesIn(on.node.checkpointsDir)
      await killContainerdDuring(agent, waitForFirstBytes)
      expect(readFreezerState(hogCgroup)).toBe('THAWED')
      expect(newArchives(before)).toEqual([])
      const meanwhile = await agent.request('POST', '/v1/captures', { body: COUNTER })
      expect(meanwhile.json()).toMatchObject({ status: 503, code: 'RuntimeUnavailable' })

      await on.node.restartContainerd()
      await expectAlive(on.node, hog)
      await expect.poll(async () => (await captureAndWait(agent, COUNTER)).status, { timeout: 10_000 }).toBe(201)
      await expect.poll(async () => (await captureAndWait(agent, HOG)).status, { timeout: 30_000 }).toBe(201)
      expect(problemsIn(on.node.checkpointsDir)).toEqual([])
    })

    it('of containerd, while it holds the container: the container is freed', async () => {
      const agent = await on.startAgent()
      const before = archivesIn(on.node.checkpointsDir)
      await killContainerdDuring(agent, waitUntilFrozen)
      expect(readFreezerState(hogCgroup)).toBe('FROZEN')
      expect(newArchives(before)).toEqual([])

      await on.node.restartContainerd()
      const { admin } = on.node
      expect(await admin.taskStatus(hog)).toBe('PAUSED')
      await expect.poll(() => admin.taskStatus(hog), { timeout: 60_000, interval: 250 }).toBe('RUNNING')
      expect(readFreezerState(hogCgroup)).toBe('THAWED')
      expect((await getNode(agent)).freezeGuard).toMatchObject({ resumedTotal: 1, frozenNow: 0 })
      expect(await readMetric(agent, 'checkpoint_agent_containers_resumed_total{origin="own"}')).toBe(1)
      expect(agent.log().map(({ msg }) => msg)).toContain('Resumed a container that a dump had left frozen')
      await expect.poll(async () => (await captureAndWait(agent, COUNTER)).status, { timeout: 10_000 }).toBe(201)

      // containerd takes a task that it finds paused at its start for lost, and looks again only at its next start
      expect((await admin.containerStatus(hog)).status.state).toBe('CONTAINER_UNKNOWN')
      await on.node.restartContainerd()
      await expectAlive(on.node, hog)
      await expect.poll(async () => (await captureAndWait(agent, HOG)).status, { timeout: 30_000 }).toBe(201)
      expect(problemsIn(on.node.checkpointsDir)).toEqual([])
    })
  })

  /** Asks for the hog, kills containerd when the moment has come, and looks at what the caller and staging are left with. */
  async function killContainerdDuring(agent: AgentProcess, moment: () => Promise<void>): Promise<void> {
    const asked = captureAndWait(agent, HOG)
    await moment()
    await on.node.killContainerd()
    const killedAt = performance.now()
    const answer = await asked
    expect(answer.json()).toMatchObject({ status: 503, code: 'RuntimeUnavailable' })
    expect(answer.status).toBe(503)
    expect(performance.now() - killedAt).toBeLessThan(5000)
    expect(stagingIn(on.node.checkpointsDir)).toEqual([])
  }

  /** The runtime writes into staging when the container runs again. */
  async function waitForFirstBytes(): Promise<void> {
    const staging = join(on.node.checkpointsDir, STAGING_FOLDER)
    for (const start = performance.now(); performance.now() - start < 30_000; await sleep(10)) {
      const sizes = stagingIn(on.node.checkpointsDir).map(
        (name) => statSync(join(staging, name, 'archive.tar'), { throwIfNoEntry: false })?.size ?? 0,
      )
      if (sizes.some((size) => size > 0)) return
    }
    throw new Error('nothing is written into staging within 30 s')
  }

  async function waitUntilFrozen(): Promise<void> {
    let since: number | undefined
    for (const start = performance.now(); performance.now() - start < 30_000; await sleep(10)) {
      if (readFreezerState(hogCgroup) !== 'FROZEN') since = undefined
      else since ??= performance.now()
      if (since !== undefined && performance.now() - since > LONGER_THAN_A_BLINK_MS) return
    }
    throw new Error(`the container is not frozen for ${LONGER_THAN_A_BLINK_MS} ms within 30 s`)
  }

  /** Agents that die one after the other, each at its point: the first in a capture, those after it in its recovery. */
  async function dieAt(failPoints: readonly FailPoint[]): Promise<void> {
    for (const [index, failPoint] of failPoints.entries()) {
      const agent = await on.startAgent({ 'debug.failPoint': failPoint })
      if (index === 0) await captureAndWait(agent, COUNTER).catch(ignoreReset)
      expect(await agent.ended).toMatchObject({ signal: 'SIGKILL' })
    }
  }

  /** The newest job, once a new agent has ended it. */
  async function expectCleanUp(before: readonly string[]): Promise<CaptureJobResponse> {
    const agent: AgentProcess = await on.startAgent()
    const [left] = await findJobs(agent)
    const job = await waitForEnd(agent, left?.id ?? '', 60_000)
    await expect.poll(() => stagingIn(on.node.checkpointsDir)).toEqual([])
    expect(problemsIn(on.node.checkpointsDir)).toEqual([])
    expect(newArchives(before)).toHaveLength(job.state === 'succeeded' ? 1 : 0)
    await expectAlive(on.node, counter)
    await expect.poll(async () => (await captureAndWait(agent, COUNTER)).status, { timeout: 10_000 }).toBe(201)
    expect(problemsIn(on.node.checkpointsDir)).toEqual([])
    return job
  }

  function newArchives(before: readonly string[]): string[] {
    return archivesIn(on.node.checkpointsDir).filter((path) => !before.includes(path))
  }
})

/** The connection ends with the agent. */
function ignoreReset(): undefined {
  return undefined
}
