import { rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { CaptureJobList } from '../../src/api/capture-schemas.ts'
import type { NodeResponse } from '../../src/api/node-schemas.ts'
import { archiveProblem } from '../support/archive-check.ts'
import type { Settings } from '../support/agent-process.ts'
import { ALIVE, containerIdOf, lookAt, tryExec } from './agent-containers.ts'
import { startAgentInNode, type AgentInNode } from './agent-in-node.ts'
import { removePods, runHog } from './agent-pods.ts'
import { cluster, type NodeName } from './cluster-harness.ts'

const HOG_MIB = 1536
const FAILED = /^checkpointing of shop\/hog-[ab]\/main failed \(rpc error: code = DeadlineExceeded desc = (.*)\)$/
/** Which of the two the kubelet says depends on who sees the deadline first, it or containerd. */
const DEADLINE_TEXTS = ['context deadline exceeded', 'stream terminated by RST_STREAM with error code: CANCEL']
const FROZEN = { task: 'PAUSED', freezer: 'FROZEN', kubernetes: 'Running, Ready' }

/** Seconds, where the defaults are minutes: whoever waits here is a test. */
const EAGER: Settings = { 'freezeGuard.interval': '200ms', 'freezeGuard.foreignAfter': '1s' }

describe.each<NodeName>(['a', 'b'])('a pod with 1.5 GiB of memory on node %s', (node) => {
  const pod = `hog-${node}`
  const path = `/checkpoint/shop/${pod}/main?timeout=1`
  let agent: AgentInNode | undefined

  beforeAll(async () => {
    await cluster.up()
    await Promise.all([runHog(node, HOG_MIB), cluster.restartKubelet(node, { extra: 'runtimeRequestTimeout: 2s' })])
  })

  afterAll(async () => {
    await agent?.stop()
    await removePods(node)
    await cluster.restartKubelet(node)
  })

  async function startAgent(settings: Settings): Promise<AgentInNode> {
    await agent?.stop()
    agent = await startAgentInNode(node, { settings })
    return agent
  }

  it('is left frozen by the kubelet, and Kubernetes does not know', async () => {
    expect(await lookAt(node, pod)).toEqual(ALIVE)
    const { status, body } = await cluster.kubeletPost(node, path)
    expect(status).toBe(500)
    expect(DEADLINE_TEXTS).toContain(FAILED.exec(body)?.[1])
    // longer than the dump would have taken
    await sleep(8000)
    expect(await lookAt(node, pod)).toMatchObject(FROZEN)
    expect(await tryExec(pod)).toMatch(/cannot exec in a paused state|hangs/)
  })

  it('is reported by the agent, and not touched', async () => {
    const reporter = await startAgent({ ...EAGER, 'freezeGuard.foreign': 'report' })
    await expect
      .poll(() => freezeGuardOf(reporter), { timeout: 10_000 })
      .toMatchObject({
        policy: 'report',
        canLook: true,
        frozenNow: 1,
      })
    expect(await metric(reporter, 'checkpoint_agent_containers_frozen')).toBe(1)
    expect(reporter.log().filter(({ msg }) => msg === 'A container is frozen, and not by this agent')).toMatchObject([
      { namespace: 'shop', pod, container: 'main', containerId: await containerIdOf(pod) },
    ])
    await sleep(2000)
    expect(await lookAt(node, pod)).toMatchObject(FROZEN)
    expect(await freezeGuardOf(reporter)).toMatchObject({ frozenNow: 1, foreignResumedTotal: 0 })
  })

  it('is freed by the agent where that is wanted', async () => {
    const helper = await startAgent({ ...EAGER, 'freezeGuard.foreign': 'resume' })
    await expect.poll(() => lookAt(node, pod), { timeout: 15_000 }).toEqual(ALIVE)
    expect(await freezeGuardOf(helper)).toMatchObject({ policy: 'resume', frozenNow: 0, foreignResumedTotal: 1 })
    expect(await metric(helper, 'checkpoint_agent_containers_resumed_total{origin="foreign"}')).toBe(1)
  })

  it('is captured by the agent though the caller waits no longer than a second', async () => {
    const capturer = await startAgent({ 'capture.minimumWait': '1s' })
    const begun = performance.now()
    const answer = await capturer.request('POST', path)
    const millis = performance.now() - begun
    expect(answer.status).toBe(500)
    expect(FAILED.exec(answer.text)?.[1]).toBe('context deadline exceeded')
    expect(millis).toBeGreaterThanOrEqual(990)
    expect(millis).toBeLessThan(4000)

    await expect.poll(() => stateOf(capturer), { timeout: 90_000, interval: 250 }).not.toMatch(/running|sealing/)
    expect(await stateOf(capturer)).toBe('succeeded')
    expect(await lookAt(node, pod)).toEqual(ALIVE)
    const fileName = String(capturer.log().find(({ msg }) => msg === 'Took a checkpoint')?.['fileName'])
    expect(fileName).toMatch(new RegExp(`^checkpoint-${pod}_shop-main-`))
    const archive = join(await cluster.folder(), `node-${node}/lib/kubelet/checkpoints`, fileName)
    expect(archiveProblem(archive)).toBeUndefined()
    expect(statSync(archive).size).toBeGreaterThan(HOG_MIB * 1024 * 1024)
    rmSync(archive)
    expect(await freezeGuardOf(capturer)).toMatchObject({ frozenNow: 0, resumedTotal: 0, foreignResumedTotal: 0 })
  })
})

async function freezeGuardOf(agent: AgentInNode): Promise<NodeResponse['freezeGuard']> {
  return (await agent.request('GET', '/v1/node')).json<NodeResponse>().freezeGuard
}

async function metric(agent: AgentInNode, nameAndLabels: string): Promise<number> {
  const { text } = await agent.request('GET', '/metrics')
  const line = text.split('\n').find((candidate) => candidate.startsWith(`${nameAndLabels} `)) ?? ''
  return Number(line.slice(nameAndLabels.length + 1))
}

/** Of the newest capture. */
async function stateOf(agent: AgentInNode): Promise<string | undefined> {
  return (await agent.request('GET', '/v1/captures')).json<CaptureJobList>().items[0]?.state
}
