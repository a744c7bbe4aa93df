import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { AgentProcess } from '../support/agent-process.ts'
import { runWebPod, type WebPod } from './harness/test-pods.ts'
import { startAgentNode, type AgentNode } from './support/agent-node.ts'
import { captureAndWait, findJobs, getNode, readMetric } from './support/captures-client.ts'
import { archivesIn, expectAlive, stagingIn } from './support/container-checks.ts'

const HINT = expect.stringContaining('containerd 2.0') as string

describe("Debian 12's containerd 1.6, which has no checkpoints", () => {
  let on: AgentNode
  let agent: AgentProcess
  let pod: WebPod

  beforeAll(async () => {
    on = await startAgentNode({ containerd: '1.6', name: 'not-implemented' })
    pod = await runWebPod(on.node.admin, on.node.placement)
    agent = await on.startAgent()
  })
  afterAll(() => on.stop())

  it('is known for it before anyone tries', async () => {
    const { runtime, canCheckpoint } = await getNode(agent)
    expect(runtime?.version).toMatch(/^v?1\.6\./)
    expect(canCheckpoint).toMatchObject({ state: 'no', code: 'CheckpointNotImplemented', hint: HINT })
    expect(await readMetric(agent, 'checkpoint_agent_can_checkpoint')).toBe(0)
    expect(await findJobs(agent)).toEqual([])
  })

  it('lists its containers all the same', async () => {
    const { items } = (await agent.request('GET', '/v1/containers')).json<{ items: unknown[] }>()
    expect(items).toMatchObject([{ identity: { pod: 'web-node-a', container: 'counter' } }])
  })

  it('makes a capture fail with 501 and the hint', async () => {
    const answer = await captureAndWait(agent, { namespace: 'shop', pod: 'web-node-a', container: 'counter' })
    expect(answer.headers['content-type']).toContain('application/problem+json')
    expect(answer.json()).toMatchObject({
      status: 501,
      code: 'CheckpointNotImplemented',
      hint: HINT,
      runtimeMessage: 'method CheckpointContainer not implemented',
    })
    expect(answer.status).toBe(501)
  })

  it("makes the kubelet's route answer as a kubelet on such a node", async () => {
    const answer = await agent.request('POST', '/checkpoint/shop/web-node-a/counter')
    expect(answer).toMatchObject({
      status: 500,
      text: 'checkpointing of shop/web-node-a/counter failed (rpc error: code = Unimplemented desc = method CheckpointContainer not implemented)',
    })
  })

  it('comes to no harm', async () => {
    await expectAlive(on.node, pod.containers.counter)
    expect(archivesIn(on.node.checkpointsDir)).toEqual([])
    expect(stagingIn(on.node.checkpointsDir)).toEqual([])
  })
})
