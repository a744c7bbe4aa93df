import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it, vi } from 'vitest'
import type { Agent } from '../../../src/agent/agent.ts'
import { startAgent } from '../../../src/agent/start-agent.ts'
import { isFinal, jobState, type CaptureJob, type CaptureState } from '../../../src/checkpoint/capture-job.ts'
import { FAIL_POINTS, type FailPoint } from '../../../src/shared/fail-point.ts'
import { startAgentProcess, type AgentProcess } from '../../support/agent-process.ts'
import { archiveProblem } from '../../support/archive-check.ts'
import { compileAgentOnce } from '../../support/compiled-agent.ts'
import type { SimulatedContainer } from '../../support/simulated-container.ts'
import { slow } from '../../support/simulated-runtime-faults.ts'
import { startSimulatedRuntime, type SimulatedRuntime } from '../../support/simulated-runtime.ts'
import { agentOptions, makeTestFolder, stagingFolders, type TestFolder } from '../../support/test-agent.ts'

// Most of the time is spent waiting until a container has run on for a while.
vi.setConfig({ maxConcurrency: 8, testTimeout: 60_000 })

compileAgentOnce()

const WISH = { namespace: 'shop', pod: 'web-node-a', container: 'counter' }

class Scene implements AsyncDisposable {
  readonly folder: TestFolder
  readonly runtime: SimulatedRuntime
  readonly counter: SimulatedContainer
  #agent: Agent | undefined
  #process: AgentProcess | undefined

  constructor(folder: TestFolder, runtime: SimulatedRuntime) {
    this.folder = folder
    this.runtime = runtime
    this.counter = runtime.webPod().container('counter')
  }

  static async start(is: string): Promise<Scene> {
    const folder = makeTestFolder()
    const freezer = { root: join(folder.path, 'cgroup'), version: 'v2' } as const
    const socketPath = join(folder.path, 'runtime.sock')
    return new Scene(folder, await startSimulatedRuntime({ socketPath, is, freezer, taskStateTimeoutMs: 30 }))
  }

  async startProcess(failPoint = ''): Promise<AgentProcess> {
    this.#process = await startAgentProcess({
      folder: join(this.folder.path, 'agent'),
      settings: {
        'node.name': 'node-a',
        'checkpoints.directory': this.folder.checkpoints,
        'state.directory': this.folder.state,
        'runtime.socket': this.runtime.socketPath,
        'freezeGuard.cgroupRoot': join(this.folder.path, 'cgroup'),
        'capture.diskFloor.minFree': '0',
        'capture.diskFloor.percent': '0%',
        'debug.failPoint': failPoint,
      },
    })
    return this.#process
  }

  /** The next run of the agent, in this process. */
  startAgent(): Agent {
    this.#agent = startAgent(agentOptions(this.folder, this.runtime.socketPath))
    return this.#agent
  }

  archives(): string[] {
    return readdirSync(this.folder.checkpoints).filter((name) => name.endsWith('.tar'))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#process?.kill9()
    await this.#agent?.captures.shutDown(0)
    await this.#agent?.stop()
    await this.runtime.stop()
    this.folder.remove()
  }
}

async function ended(agent: Agent): Promise<CaptureJob> {
  let job: CaptureJob | undefined
  await vi.waitUntil(
    () => {
      job = agent.captures.list({ limit: 10 }).jobs.at(-1)
      return job !== undefined && isFinal(jobState(job))
    },
    { interval: 50, timeout: 40_000 },
  )
  if (job === undefined) throw new Error('the index knows of no capture')
  return job
}

/** How a capture ends that was killed there; from `dumped` on the archive is whole. */
function expectedState(point: FailPoint, is: string): CaptureState {
  if (point === 'capture.queued') return 'failed'
  if (['capture.admitted', 'capture.staged', 'capture.intended'].includes(point)) return 'unknown-outcome'
  // CRI-O writes its archive to the end though its caller is gone; containerd does not.
  if (point === 'capture.dumping' && is.startsWith('containerd')) return 'unknown-outcome'
  return 'succeeded'
}

/** Behind the last of these nothing is asked of the runtime any more: on which one it was makes no difference. */
const AT_THE_RUNTIME = FAIL_POINTS.slice(0, FAIL_POINTS.indexOf('capture.dumped') + 1)
const isSlow = process.env['SLOW'] === '1'

describe.concurrent.each([
  { is: 'containerd 2.1.9', points: FAIL_POINTS },
  { is: 'cri-o 1.36.3', points: isSlow ? FAIL_POINTS : AT_THE_RUNTIME },
])('an agent that is killed, on $is', ({ is, points }) => {
  it.each(points)('at %s: the next one ends what was left', async (point) => {
    await using scene = await Scene.start(is)
    const killed = await scene.startProcess(point)
    scene.runtime.faults.next(slow(point === 'capture.dumping' ? 400 : 20))
    const request = { ...WISH, pin: true, reason: 'a test' }
    await killed.request('POST', '/v1/captures', { body: request, overSocket: true }).catch(() => undefined)
    expect(await killed.ended).toEqual({ exitCode: null, signal: 'SIGKILL' })

    const agent = scene.startAgent()
    const job = await ended(agent)
    const expected = expectedState(point, is)
    expect(job).toMatchObject({ pin: true, reason: 'a test', captures: [{ state: expected }] })
    expect(job.captures[0]?.failure?.code).toBe(expected === 'succeeded' ? undefined : 'AgentRestarted')

    // Whole archives under final names, with their markers, or none at all.
    const archives = scene.archives()
    expect(archives).toHaveLength(expected === 'succeeded' ? 1 : 0)
    for (const name of archives) {
      const path = join(scene.folder.checkpoints, name)
      expect(archiveProblem(path)).toBeUndefined()
      const stat = statSync(path)
      expect(stat.mode & 0o777).toBe(0o600)
      expect(job.captures[0]?.archive).toMatchObject({ fileName: name, sizeBytes: stat.size })
      expect(JSON.parse(readFileSync(`${path}.keep`, 'utf8'))).toMatchObject({
        pinnedBy: 'checkpoint-agent',
        user: 'system:local-root',
        reason: 'a test',
      })
    }

    await vi.waitUntil(() => stagingFolders(scene.folder.checkpoints).length === 0, { timeout: 10_000 })
    await scene.runtime.dumpsOver()
    expect(scene.counter.canExec).toBe(true)
    const next = await agent.captures.requestBehind({ ...WISH, requestedBy: 'test' })
    expect(jobState(await agent.captures.wait(next.id, {}))).toBe('succeeded')
    expect(scene.runtime.calls.overlaps).toBe(0)
    expect(readdirSync(scene.folder.checkpoints).filter((name) => name.endsWith('.tmp'))).toEqual([])
  })
})

describe.concurrent('an agent that is killed with one capture running and one waiting', () => {
  it('is started again as a process, and both have ended', async () => {
    await using scene = await Scene.start('cri-o 1.36.3')
    scene.runtime.addPod({ namespace: 'shop', name: 'other', containers: [{ name: 'a' }] })
    scene.runtime.faults.next(slow(1_500))
    const first = await scene.startProcess()
    const post = async (body: object) => {
      const answer = await first.request('POST', '/v1/captures', { body, overSocket: true })
      expect(answer.status).toBe(202)
      return answer.json<{ id: string }>().id
    }
    const running = await post(WISH)
    const waiting = await post({ namespace: 'shop', pod: 'other' })
    await vi.waitUntil(() => scene.runtime.dumpsRunning === 1, { timeout: 10_000 })
    await first.kill9()

    const second = await scene.startProcess()
    const get = async (id: string) => {
      const answer = await second.request('GET', `/v1/captures/${id}`, { overSocket: true })
      return answer.json<{ readonly state: CaptureState; readonly error?: { readonly code: string } }>()
    }
    expect(await get(waiting)).toMatchObject({ state: 'failed', error: { code: 'AgentRestarted' } })
    // Its container is held until its dump is over: the next capture of it does not fall into that.
    const refused = await second.request('POST', '/v1/captures', { body: WISH, overSocket: true })
    expect(refused.status).toBe(409)
    expect(refused.json()).toMatchObject({ code: 'CaptureInFlight', job: running })
    await vi.waitFor(async () => expect(isFinal((await get(running)).state)).toBe(true), {
      interval: 100,
      timeout: 20_000,
    })
    expect((await get(running)).state).toBe('succeeded')
    expect(scene.archives()).toHaveLength(1)
    await vi.waitUntil(() => stagingFolders(scene.folder.checkpoints).length === 0, { timeout: 10_000 })
    expect(scene.counter.canExec).toBe(true)
    expect(await second.sigterm()).toBe(0)
  })
})
