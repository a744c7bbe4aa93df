import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { archiveProblem } from '../support/archive-check.ts'
import type { AgentProcess } from '../support/agent-process.ts'
import { hogPod, runWebPod } from './harness/test-pods.ts'
import { startAgentNode, type AgentNode } from './support/agent-node.ts'
import { capture, captureAndWait, getNode, type Wish } from './support/captures-client.ts'
import { archivesIn, expectAlive, stagingIn } from './support/container-checks.ts'

const DISK_MIB = 24
const HOG_MIB = 64
const COUNTER: Wish = { namespace: 'shop', pod: 'web-node-a', container: 'counter' }
const HOG: Wish = { namespace: 'shop', pod: 'hog', container: 'hog' }

describe.each(['2.1', '2.4'] as const)('a checkpoint directory of 24 MiB, containerd %s', (containerd) => {
  let on: AgentNode
  let agent: AgentProcess
  let hog: string

  beforeAll(async () => {
    const name = `disk-full-${containerd.replace('.', '-')}`
    on = await startAgentNode({ containerd, name, checkpointsSizeMiB: DISK_MIB })
    await runWebPod(on.node.admin, on.node.placement)
    hog = (await hogPod(on.node.admin, on.node.placement, { sizeMiB: HOG_MIB })).containers.hog
  })
  afterAll(() => on.stop())

  it('gets too full for a large container, and keeps the archive that it has', async () => {
    // As if the dump were tiny: with the factor of containerd it would be refused before it begins.
    agent = await on.startAgent({ 'capture.sizeFactor': 0.01 })
    await capture(agent, COUNTER)
    const [kept = '', ...others] = archivesIn(on.node.checkpointsDir)
    expect(others).toEqual([])
    const digest = sha256(kept)
    const { disk: before } = await getNode(agent)

    const answer = await captureAndWait(agent, HOG)
    expect(answer.json()).toMatchObject({
      status: 507,
      code: 'DiskFull',
      runtimeMessage: expect.stringContaining('no space left on device') as string,
    })
    expect(answer.status).toBe(507)
    expect(stagingIn(on.node.checkpointsDir)).toEqual([])
    expect(archivesIn(on.node.checkpointsDir)).toEqual([kept])
    expect(sha256(kept)).toBe(digest)
    expect(archiveProblem(kept)).toBeUndefined()
    expect((await getNode(agent)).disk.freeBytes).toBe(before.freeBytes)
    await expectAlive(on.node, hog)
  })

  it('says so on the route of the kubelet too', async () => {
    const answer = await agent.request('POST', '/checkpoint/shop/hog/hog')
    expect(answer.status).toBe(500)
    expect(answer.text).toMatch(
      /^checkpointing of shop\/hog\/hog failed \(rpc error: code = Unknown desc = .*no space left on device\)$/,
    )
    await expectAlive(on.node, hog)
  })

  it('takes the next small container', async () => {
    await capture(agent, COUNTER)
    expect(archivesIn(on.node.checkpointsDir).map(archiveProblem)).toEqual([undefined, undefined])
  })

  describe.each([
    {
      floor: 'the default floor',
      settings: { 'capture.diskFloor.percent': '5%', 'capture.diskFloor.minFree': '2GiB' },
    },
    { floor: 'no floor, too little room', settings: {} },
  ] as const)('$floor', ({ settings }) => {
    it('refuses it before the container is touched', async () => {
      agent = await on.startAgent(settings)
      const events = await eventsDuring(async () => {
        const answer = await captureAndWait(agent, HOG)
        expect(answer.json()).toMatchObject({ status: 507, code: 'DiskFloor' })
        expect(answer.status).toBe(507)
        const kubelet = await agent.request('POST', '/checkpoint/shop/hog/hog')
        expect(kubelet.status).toBe(500)
        expect(kubelet.text).toMatch(
          /^checkpointing of shop\/hog\/hog failed \(Cannot take the checkpoint: it may need /,
        )
      })
      expect(events).not.toContain('/tasks/paused')
      expect(stagingIn(on.node.checkpointsDir)).toEqual([])
    })
  })

  it('shows a pause to whoever listens, when there is one', async () => {
    agent = await on.startAgent()
    const events = await eventsDuring(() => capture(agent, COUNTER))
    expect(events).toContain('/tasks/paused')
  })

  /** What containerd tells its listeners meanwhile. */
  async function eventsDuring(work: () => Promise<unknown>): Promise<string> {
    const { socketPath } = on.node
    const listening = on.node.run(['timeout', '3', 'ctr', '--address', socketPath, '-n', 'k8s.io', 'events'])
    await sleep(1000)
    await work()
    return (await listening).stdout
  }
})

function sha256(path: string): string {
  return createHash('sha256').update(readFileSync(path)).digest('hex')
}
