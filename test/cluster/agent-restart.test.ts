import { readFileSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { archiveProblem } from '../support/archive-check.ts'
import { ALIVE, containerIdOf, lookAt, tryExec } from './agent-containers.ts'
import { startAgentInNode, type AgentInNode } from './agent-in-node.ts'
import { removePods, runCounter } from './agent-pods.ts'
import { cluster, type NodeName } from './cluster-harness.ts'

/** As a container with `capabilities: drop: [ALL]` and no way to get more. */
const WITHOUT_CAPABILITIES = [
  'setpriv',
  '--bounding-set=-all',
  '--inh-caps=-all',
  '--ambient-caps=-all',
  '--no-new-privs',
]

describe.each<NodeName>(['a', 'b'])('the agent on node %s, root without capabilities', (node) => {
  const path = `/checkpoint/shop/counter-${node}/main`
  let agent: AgentInNode
  const archives: string[] = []

  beforeAll(async () => {
    await cluster.up()
    await runCounter(node)
    agent = await startAgentInNode(node, {
      before: WITHOUT_CAPABILITIES,
      settings: { 'freezeGuard.foreign': 'resume', 'freezeGuard.foreignAfter': '1s', 'freezeGuard.interval': '200ms' },
    })
  })

  afterAll(async () => {
    for (const archive of archives) rmSync(archive, { force: true })
    await removePods(node)
  })

  it('has none', () => {
    const status = readFileSync(`/proc/${agent.pid}/status`, 'utf8')
    const capabilities = [...status.matchAll(/^(Cap\w+):\t(.*)$/gm)].map(([, name, bits]) => [name, Number(bits)])
    expect(capabilities).toEqual(['CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb'].map((name) => [name, 0]))
    expect(status).toMatch(/^Uid:(\t0){4}$/m)
  })

  it('captures, and is as ready as ever', async () => {
    await expectCapture()
    expect((await agent.request('GET', '/readyz?verbose=true')).json()).toMatchObject({ status: 'ok' })
    expect((await agent.request('GET', '/v1/node')).json()).toMatchObject({
      canCheckpoint: { state: 'yes' },
      freezeGuard: { canLook: true },
    })
  })

  it('frees a container that somebody else froze', async () => {
    const id = await containerIdOf(`counter-${node}`)
    expect(await cluster.inNode(node, ['ctr', '-n', 'k8s.io', 'tasks', 'pause', id])).toMatchObject({ code: 0 })
    await expect.poll(() => lookAt(node, `counter-${node}`), { timeout: 15_000 }).toEqual(ALIVE)
    expect(agent.log().map(({ msg }) => msg)).toContain('Resumed a container that somebody else had left frozen')
  })

  it('says that containerd is gone, and goes on when it is there again', async () => {
    const socket = await socketFile()
    process.kill(await cluster.processOf(`containerd-${node}`), 'SIGKILL')
    await expect
      .poll(() => agent.request('POST', path))
      .toMatchObject({
        status: 500,
        text: expect.stringMatching(/^checkpointing of \S+ failed \(rpc error: code = Unavailable desc = /) as string,
      })
    await cluster.startComponent(`containerd-${node}`)
    expect(await socketFile()).not.toBe(socket)
    await expectCapture()
    expect(await tryExec(`counter-${node}`)).toBe('works')
  })

  it('ends in good order', async () => {
    expect(await agent.stop()).toBe(0)
  })

  async function expectCapture(): Promise<void> {
    const { status, text } = await agent.request('POST', path)
    expect({ status, text }).toEqual({
      status: 200,
      text: expect.stringContaining(`checkpoint-counter-${node}_shop-main-`) as string,
    })
    const [file = ''] = (JSON.parse(text) as { items: readonly string[] }).items
    const archive = file.replace('/var/lib', join(await cluster.folder(), `node-${node}/lib`))
    archives.push(archive)
    expect(archiveProblem(archive)).toBeUndefined()
    expect(statSync(archive).mode & 0o7777).toBe(0o600)
  }

  async function socketFile(): Promise<string> {
    const { stdout } = await cluster.inNode(node, ['stat', '-c', '%i %W', '/run/containerd/containerd.sock'])
    return stdout
  }
})
