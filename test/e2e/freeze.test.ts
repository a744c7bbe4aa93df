import { existsSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { status as Code } from '@grpc/grpc-js'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import type { CaptureJobResponse } from '../../src/http/capture-api-types.ts'
import { archiveProblem } from '../support/archive-check.ts'
import type { AgentProcess } from '../support/agent-process.ts'
import { hogPod, runPod, runWebPod } from './harness/test-pods.ts'
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
import {
  ALIVE,
  archivesIn,
  expectAlive,
  refresh,
  problemsIn,
  stagingIn,
  thawByHand,
} from './support/container-checks.ts'

const HOG_MIB = 1536

/** Of a cancelled capture: the runtime may have finished all the same. */
const ENDS = ['cancelled', 'succeeded']
const COUNTER: Wish = { namespace: 'shop', pod: 'web-node-a', container: 'counter' }
const HOG: Wish = { namespace: 'shop', pod: 'hog', container: 'hog' }

/** Seconds, where the defaults are minutes: whoever waits here is a test. */
const EAGER = { 'freezeGuard.interval': '200ms', 'freezeGuard.foreignAfter': '1s' } as const

describe.each(['2.1', '2.4'] as const)('a container with 1.5 GiB of memory, containerd %s', (containerd) => {
  let on: AgentNode
  let hog: string
  let counter: string

  beforeAll(async () => {
    on = await startAgentNode({ containerd, name: `freeze-${containerd.replace('.', '-')}` })
    const [web, big] = await Promise.all([
      runWebPod(on.node.admin, on.node.placement),
      hogPod(on.node.admin, on.node.placement, { sizeMiB: HOG_MIB }),
    ])
    hog = big.containers.hog
    counter = web.containers.counter
  })
  afterAll(() => on.stop())
  afterEach(() => {
    // each is 1.6 GB
    for (const archive of archivesIn(on.node.checkpointsDir)) rmSync(archive)
  })

  // Before any capture: the guard's patience grows with the longest dump that the agent has seen.
  describe('that somebody else left frozen', () => {
    it('is frozen for ever by a deadline on the wire', async () => {
      const { admin, checkpointsDir } = on.node
      const location = join(checkpointsDir, 'deadline.tar')
      const dump = admin.checkpointContainer(hog, location, { deadlineMs: 1500 })
      const code = await dump.then(
        () => 'no error',
        (error: unknown) => (error as { readonly code: number }).code,
      )
      // 2.1 tells the deadline, 2.4 cancels at the same moment
      expect([Code.DEADLINE_EXCEEDED, Code.CANCELLED]).toContain(code)
      await expectFrozen()
      await sleep(5000)
      await expectFrozen()
      expect((await admin.containerStatus(hog)).status.state).toBe('CONTAINER_RUNNING')
      expect(existsSync(location)).toBe(false)
    })

    it('is reported, and not touched', async () => {
      const agent = await on.startAgent({ ...EAGER, 'freezeGuard.foreign': 'report' })
      await expect.poll(async () => (await getNode(agent)).freezeGuard.frozenNow, { timeout: 10_000 }).toBe(1)
      expect((await getNode(agent)).freezeGuard).toMatchObject({ policy: 'report', canLook: true })
      expect(await readMetric(agent, 'checkpoint_agent_containers_frozen')).toBe(1)
      const reports = () => agent.log().filter(({ msg }) => msg === 'A container is frozen, and not by this agent')
      expect(reports()).toMatchObject([{ namespace: 'shop', pod: 'hog', container: 'hog', containerId: hog }])
      expect((await agent.request('GET', '/readyz?verbose=true')).json()).toMatchObject({ status: 'degraded' })
      await sleep(2000)
      expect(reports()).toHaveLength(1)
      await expectFrozen()
    })

    it('is freed where that is wanted', async () => {
      const agent = await on.startAgent({ ...EAGER, 'freezeGuard.foreign': 'resume' })
      await expectAlive(on.node, hog)
      expect(await on.node.admin.taskStatus(hog)).toBe('RUNNING')
      await expectCountedAsForeign(agent, 1)
    })

    it('is mended where somebody thawed it behind the back of the runtime', async () => {
      const { admin } = on.node
      await admin.pauseTask(counter)
      await thawByHand(on.node, counter)
      expect(await refresh(on.node, counter)).toMatchObject({
        task: 'PAUSED',
        freezer: 'THAWED',
        exec: expect.stringContaining('cannot exec in a paused state') as string,
      })
      await expect(admin.resumeTask(counter)).rejects.toThrow('container not paused')
      expect(await admin.taskStatus(counter)).toBe('PAUSED')

      const agent = await on.startAgent({ ...EAGER, 'freezeGuard.foreign': 'resume' })
      await expectAlive(on.node, counter)
      await expectCountedAsForeign(agent, 1)
    })
  })

  describe('whose caller gives up after a second', () => {
    it('is captured all the same: /v1/captures', async () => {
      const agent = await on.startAgent()
      const begun = performance.now()
      const answer = await captureAndWait(agent, { ...HOG, timeoutSeconds: 1 })
      expectInTime(performance.now() - begun)
      expect(answer.status).toBe(202)
      const job = answer.json<CaptureJobResponse>()
      expect(answer.headers['location']).toBe(`/v1/captures/${job.id}`)
      expect(job.state).toBe('running')
      await expectWholeArchive(agent, job)
    })

    it("is captured all the same: the kubelet's route", async () => {
      const agent = await on.startAgent({ 'capture.minimumWait': '1s' })
      const begun = performance.now()
      const answer = await agent.request('POST', '/checkpoint/shop/hog/hog?timeout=1')
      expectInTime(performance.now() - begun)
      expect(answer).toMatchObject({
        status: 500,
        text: 'checkpointing of shop/hog/hog failed (rpc error: code = DeadlineExceeded desc = context deadline exceeded)',
      })
      const [job] = await findJobs(agent)
      await expectWholeArchive(agent, job)
    })
  })

  describe('whose capture is cancelled', () => {
    // the dump of the memory, the copy of the file system, the writing of the archive
    it.each([1000, 5000, 9000])('runs on, cancelled after %i ms', async (afterMs) => {
      const agent = await on.startAgent()
      expect(ENDS).toContain(await cancelAfter(agent, { wish: HOG, containerId: hog, afterMs }))
    })
  })

  it('a small container runs on, cancelled at any moment', async () => {
    const agent = await on.startAgent()
    for (const afterMs of [0, 5, 20, 40, 70, 110, 160, 220, 300]) {
      expect(ENDS).toContain(await cancelAfter(agent, { wish: COUNTER, containerId: counter, afterMs }))
    }
  })

  async function expectFrozen(): Promise<void> {
    await expect
      .poll(() => refresh(on.node, hog), { timeout: 30_000 })
      .toEqual({ task: 'PAUSED', freezer: 'FROZEN', exec: expect.stringContaining('cannot exec in a paused state') })
  }

  async function expectWholeArchive(agent: AgentProcess, { id }: Pick<CaptureJobResponse, 'id'> = { id: '' }) {
    const ended = await waitForEnd(agent, id)
    expect(ended).toMatchObject({ state: 'succeeded', checkpoints: [expect.any(String)] })
    const [path = '', ...others] = archivesIn(on.node.checkpointsDir)
    expect(others).toEqual([])
    expect(archiveProblem(path)).toBeUndefined()
    expect(statSync(path).size).toBeGreaterThan(HOG_MIB * 1024 * 1024)
    const shown = await on.node.run(['checkpointctl', 'show', path])
    expect(shown).toMatchObject({ exitCode: 0, stdout: expect.stringContaining('hog') as string })
    expect(await refresh(on.node, hog)).toEqual(ALIVE)
    expect((await getNode(agent)).freezeGuard).toMatchObject({ frozenNow: 0, resumedTotal: 0 })
    expect(stagingIn(on.node.checkpointsDir)).toEqual([])
  }

  /** The state of the capture in the end: a small one may be over before it is cancelled. */
  async function cancelAfter(
    agent: AgentProcess,
    { wish, containerId, afterMs }: { wish: Wish; containerId: string; afterMs: number },
  ): Promise<string> {
    const before = archivesIn(on.node.checkpointsDir).length
    const { id } = await beginCapture(agent, wish)
    await sleep(afterMs)
    const { status } = await agent.request('DELETE', `/v1/captures/${id}`)
    expect([200, 409]).toContain(status)
    const { state } = await getJob(agent, id)
    await expectAlive(on.node, containerId, 5000)
    expect(stagingIn(on.node.checkpointsDir)).toEqual([])
    expect(archivesIn(on.node.checkpointsDir)).toHaveLength(before + (state === 'succeeded' ? 1 : 0))
    expect(problemsIn(on.node.checkpointsDir)).toEqual([])
    return state
  }
})

/** Both ends of a TCP connection: CRIU refuses to dump it. */
const TALK = `
mkfifo /tmp/silence; exec 3<>/tmp/silence
nc -l -p 7001 <&3 >/tmp/heard &
n=0; while :; do n=$((n+1)); echo $n; sleep 0.2; done | while ! nc 127.0.0.1 7001; do sleep 0.1; done`
const CHAT: Wish = { namespace: 'shop', pod: 'chat', container: 'chat' }

/** The guard took a pause of a small container for its own once it was older than this. */
const LONGER_THAN_A_DUMP_MS = 9_000
/** Its dump takes a second or two, and may take a dozen by what is known of it. */
const SMALL_HOG_MIB = 256

describe.each(['2.1', '2.4'] as const)('whose pause it is, containerd %s', (containerd) => {
  let on: AgentNode
  let agent: AgentProcess
  let chat: string
  let counter: string
  let hog: string

  beforeAll(async () => {
    on = await startAgentNode({ containerd, name: `pauses-${containerd.replace('.', '-')}` })
    const { admin, placement } = on.node
    const containers = [{ name: 'chat', command: ['sh', '-c', TALK] }]
    const [web, talk, big] = await Promise.all([
      runWebPod(admin, placement),
      runPod(admin, { namespace: 'shop', name: 'chat', ...placement, containers }),
      hogPod(admin, placement, { sizeMiB: SMALL_HOG_MIB }),
    ])
    counter = web.containers.counter
    chat = talk.containers['chat'] ?? ''
    hog = big.containers.hog
    agent = await on.startAgent()
  })
  afterAll(() => on.stop())

  it("somebody else's after a dump that failed: the container stays paused", async () => {
    const { admin } = on.node
    const heard = async () => (await admin.execSync(chat, ['tail', '-n', '1', '/tmp/heard'])).stdout
    await expect.poll(heard, { timeout: 20_000 }).toMatch(/\d/)
    // Which one depends on whether the agent may read CRIU's log.
    const failure = (await captureAndWait(agent, CHAT)).json<{ readonly code: string }>()
    expect(['TcpEstablished', 'CriuCannotDump']).toContain(failure.code)
    await expectAlive(on.node, chat)
    await admin.pauseTask(chat)
    await sleep(LONGER_THAN_A_DUMP_MS)
    expect(await admin.taskStatus(chat)).toBe('PAUSED')
    expect((await getNode(agent)).freezeGuard).toMatchObject({ resumedTotal: 0, foreignResumedTotal: 0 })
    await admin.resumeTask(chat)
    await expectAlive(on.node, chat)
  })

  it("somebody else's before the capture: it is refused, and the container stays paused", async () => {
    const { admin } = on.node
    await admin.pauseTask(counter)
    expect((await captureAndWait(agent, COUNTER)).json()).toMatchObject({ status: 409, code: 'ContainerPaused' })
    await sleep(3000)
    expect(await admin.taskStatus(counter)).toBe('PAUSED')
    await admin.resumeTask(counter)
    await expectAlive(on.node, counter)
  })

  it("somebody else's before the capture, while the task API is slow: refused as well, and it stays paused", async () => {
    const { admin } = on.node
    await admin.pauseTask(counter)
    const shim = await shimPid()
    await signal(shim, 'STOP')
    try {
      const begun = performance.now()
      expect((await captureAndWait(agent, COUNTER)).json()).toMatchObject({ status: 503, code: 'FreezeUnknown' })
      expect(performance.now() - begun).toBeGreaterThan(2500)
    } finally {
      await signal(shim, 'CONT')
    }
    await sleep(3000)
    expect(await admin.taskStatus(counter)).toBe('PAUSED')
    await admin.resumeTask(counter)
    await expectAlive(on.node, counter)
    expect((await captureAndWait(agent, COUNTER)).status).toBe(201)
  })

  it('ours when containerd dies in the middle of a dump: the container is resumed, and that is on record', async () => {
    const { admin } = on.node
    const { id } = await beginCapture(agent, HOG)
    await expect.poll(() => admin.taskStatus(hog), { timeout: 10_000, interval: 20 }).not.toBe('RUNNING')
    await on.node.killContainerd()
    await on.node.restartContainerd()
    expect(await waitForEnd(agent, id)).toMatchObject({ state: 'failed', error: { code: 'RuntimeUnavailable' } })
    const stand = async () => {
      const { task, freezer } = await refresh(on.node, hog)
      return `${task} ${freezer}`
    }
    await expect.poll(stand, { timeout: 90_000, interval: 250 }).toBe('RUNNING THAWED')
    await expect.poll(async () => (await getNode(agent)).freezeGuard.resumedTotal, { timeout: 10_000 }).toBe(1)
    const log = (await agent.request('GET', '/v1/custody?limit=1000')).json<{
      items: { action: string; outcome: string }[]
    }>()
    const resumes = log.items.filter(({ action }) => action === 'freeze.resume')
    expect(resumes).toMatchObject([
      { outcome: 'intended', detail: { containerId: hog, origin: 'own' } },
      { outcome: 'done' },
    ])
    // containerd lost sight of the paused task when it started, and finds it again at its next start.
    await on.node.restartContainerd()
    await expectAlive(on.node, hog, 30_000)
  })

  /** Asked while it still answers: a shim that is stopped does not say where its task is. */
  async function shimPid(): Promise<string> {
    const tasks = await on.node.ctr('tasks', 'ls')
    const pid = tasks
      .split('\n')
      .find((line) => line.startsWith(counter))
      ?.split(/\s+/)[1]
    const { stdout } = await on.node.run(['sed', '-n', 's/^PPid:[[:space:]]*//p', `/proc/${pid}/status`])
    return stdout.trim()
  }

  async function signal(pid: string, name: 'STOP' | 'CONT'): Promise<void> {
    expect(await on.node.run(['sh', '-c', `kill -${name} ${pid}`])).toMatchObject({ exitCode: 0 })
  }
})

async function expectCountedAsForeign(agent: AgentProcess, count: number): Promise<void> {
  const { freezeGuard } = await getNode(agent)
  expect(freezeGuard).toMatchObject({ policy: 'resume', frozenNow: 0, foreignResumedTotal: count, resumedTotal: 0 })
  expect(await readMetric(agent, 'checkpoint_agent_containers_resumed_total{origin="foreign"}')).toBe(count)
  expect(agent.log().map(({ msg }) => msg)).toContain('Resumed a container that somebody else had left frozen')
}

/** A second, and what a busy machine adds to it. */
function expectInTime(millis: number): void {
  expect(millis).toBeGreaterThanOrEqual(990)
  expect(millis).toBeLessThan(3000)
}
