import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, describe, expect, it } from 'vitest'
import type { AgentProcess } from '../support/agent-process.ts'
import { archiveProblem } from '../support/archive-check.ts'
import { nodeFolder } from './harness/node-registry.ts'
import { runPod } from './harness/test-pods.ts'
import { startAgentNode, type AgentNode } from './support/agent-node.ts'
import { captureAndWait, type Wish } from './support/captures-client.ts'
import { archivesIn, expectAlive, stagingIn } from './support/container-checks.ts'

const CHAT: Wish = { namespace: 'shop', pod: 'chat', container: 'chat' }

/** One half counts aloud five times a second over TCP, the other writes down what it hears. */
const TALK = `
mkfifo /tmp/silence; exec 3<>/tmp/silence
nc -l -p 7001 <&3 >/tmp/heard &
n=0; while :; do n=$((n+1)); echo $n; sleep 0.2; done | while ! nc 127.0.0.1 7001; do sleep 0.1; done`

describe.each(['2.1', '2.4'] as const)('an established TCP connection, containerd %s', (containerd) => {
  let on: AgentNode
  let agent: AgentProcess
  let container: string

  afterEach(() => on.stop())

  it('is named as the cause, with the remedy, and goes on', async () => {
    await start([])
    const answer = await captureAndWait(agent, CHAT)
    expect(answer.json()).toMatchObject({
      status: 500,
      code: 'TcpEstablished',
      hint: expect.stringMatching(/tcp-established.*\/etc\/criu\/runc\.conf/) as string,
      runtimeMessage: expect.stringContaining('Connected TCP socket, consider using --tcp-established') as string,
    })
    expect(archivesIn(on.node.checkpointsDir)).toEqual([])
    await expectTalking()
  })

  it('is part of the checkpoint once CRIU is told so, and goes on', async () => {
    await start(['tcp-established'])
    expect((await captureAndWait(agent, CHAT)).status).toBe(201)
    const [archive = ''] = archivesIn(on.node.checkpointsDir)
    expect(archiveProblem(archive)).toBeUndefined()
    await expectTalking()
  })

  async function start(criuOptions: readonly string[]): Promise<void> {
    const name = `tcp-${containerd.replace('.', '-')}`
    // Where the agent sees it too, as it sees /run/containerd on a node: CRIU's log is in there.
    const extraConfig = `state = "${join(nodeFolder(name), 'work/state')}"`
    on = await startAgentNode({ containerd, name, criuOptions, extraConfig })
    container = await runChat(on)
    agent = await on.startAgent()
  }

  async function expectTalking(): Promise<void> {
    await expectAlive(on.node, container)
    const before = await lastHeard(on, container)
    await expect.poll(() => lastHeard(on, container), { timeout: 10_000 }).toBeGreaterThan(before)
    expect(stagingIn(on.node.checkpointsDir)).toEqual([])
  }
})

/** The id of the container, once both halves talk. */
async function runChat({ node }: AgentNode): Promise<string> {
  const containers = [{ name: 'chat', command: ['sh', '-c', TALK] }]
  const pod = await runPod(node.admin, { namespace: 'shop', name: 'chat', ...node.placement, containers })
  const id = pod.containers['chat'] ?? ''
  for (const start = Date.now(); Date.now() - start < 10_000; await sleep(100)) {
    if ((await lastHeard({ node }, id)) > 0) return id
  }
  throw new Error('Cannot start the talk: nothing is heard after 10 s')
}

async function lastHeard({ node }: Pick<AgentNode, 'node'>, containerId: string): Promise<number> {
  return Number((await node.admin.execSync(containerId, ['tail', '-n', '1', '/tmp/heard'])).stdout)
}
