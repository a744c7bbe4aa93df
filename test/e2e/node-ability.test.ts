import { readdirSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { AgentProcess } from '../support/agent-process.ts'
import { runWebPod, type WebPod } from './harness/test-pods.ts'
import { startAgentNode, type AgentNode } from './support/agent-node.ts'
import { getNode } from './support/captures-client.ts'
import { expectAlive, stagingIn } from './support/container-checks.ts'

const HINT = expect.stringContaining('Install criu') as string
const CRIU_MISSING = { state: 'no', code: 'CriuMissing', hint: HINT }

describe.each([
  { containerd: '2.1', withoutCriu: false, ability: { state: 'yes' } },
  { containerd: '2.4', withoutCriu: false, ability: { state: 'yes' } },
  { containerd: '2.1', withoutCriu: true, ability: CRIU_MISSING },
  { containerd: '2.4', withoutCriu: true, ability: CRIU_MISSING },
] as const)('containerd $containerd, CRIU missing: $withoutCriu', ({ containerd, withoutCriu, ability }) => {
  let on: AgentNode
  let pod: WebPod
  let agent: AgentProcess

  beforeAll(async () => {
    const name = `ability-${containerd.replace('.', '-')}-${withoutCriu ? 'without' : 'with'}`
    on = await startAgentNode({ containerd, name, withoutCriu })
    pod = await runWebPod(on.node.admin, on.node.placement)
  })
  afterAll(() => on.stop())

  it('is known before anyone tries', async () => {
    agent = await on.startAgent()
    const { runtime, canCheckpoint } = await getNode(agent)
    expect(runtime?.name).toBe('containerd')
    expect(runtime?.version).toContain(containerd)
    expect(canCheckpoint).toMatchObject(ability)
  })

  it('is found out without a trace', async () => {
    const contents = async () => ({
      containers: (await on.node.admin.listContainers()).map(({ id, state }) => `${id} ${state}`).toSorted(),
      checkpoints: readdirSync(on.node.checkpointsDir),
      staging: stagingIn(on.node.checkpointsDir),
      images: await on.node.ctr('images', 'ls', '-q'),
      content: await on.node.ctr('content', 'ls', '-q'),
      scratch: (await on.node.run(['find', '/run/containerd', '/var/lib/containerd', '-name', '*checkpoint*'])).stdout,
    })
    await on.node.restartContainerd()
    const before = await contents()
    agent = await on.startAgent()
    await getNode(agent)
    expect(await contents()).toEqual(before)
    expect(before.scratch).toBe('')
    await expectAlive(on.node, pod.containers.counter)
  })
})
