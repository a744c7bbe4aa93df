import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, it, onTestFinished } from 'vitest'
import { archiveProblem } from '../support/archive-check.ts'
import { ALIVE, lookAt } from './agent-containers.ts'
import { kubectl, runCounter } from './agent-pods.ts'
import { useChart } from './chart-fixture.ts'
import { cluster, type NodeName } from './cluster-harness.ts'
import { certificateOf, curl } from './curl.ts'
import { agentPodOf, agentUrl, ask, captureIn, listCheckpoints } from './installed-agents.ts'
import { NODES, waitForAgents } from './installed-chart.ts'

const ALLOW_MS = 4000

const VALUES = {
  config: {
    server: { auth: { allowTtl: `${ALLOW_MS}ms`, denyTtl: '1s', tokenTtl: '1s' } },
    capture: { diskFloor: { percent: '0%', minFree: '0' } },
  },
}

const { folderOf } = useChart(VALUES)

describe.each(NODES)('containerd of node %s is killed and started under the agent', (node) => {
  it('and the next capture works, by the same agent', async () => {
    await expectCapture(node)
    const before = await agentPodOf(node)
    process.kill(await cluster.processOf(`containerd-${node}`), 'SIGKILL')
    await expect
      .poll(() => ask(node, 'POST', '/v1/captures?wait=true', { namespace: 'shop', pod: `counter-${node}` }))
      .toMatchObject({ status: 503, body: { code: 'RuntimeUnavailable' } })
    await cluster.startComponent(`containerd-${node}`)
    await expectCapture(node)
    expect(await lookAt(node, `counter-${node}`)).toEqual(ALIVE)
    expect(await agentPodOf(node)).toEqual(before)
  })
})

describe('the API server is stopped', () => {
  it('and nobody is allowed anything beyond what is remembered, until it goes on', async () => {
    const url = await agentUrl('b')
    const admin = await certificateOf('admin')
    const token = (await cluster.kubectl(['-n', 'shop', 'create', 'token', 'default'])).trim()
    const list = () => curl(`${url}/v1/checkpoints`, admin)
    const before = await agentPodOf('b')
    const remembered = await list()
    expect(remembered).toMatchObject({ status: 200 })

    const resume = await stopApiServer()
    const unavailable = { status: 503, body: { code: 'AuthorizationUnavailable' } }
    expect(await list()).toEqual(remembered)
    await sleep(ALLOW_MS)
    const asked = await Promise.all([
      list(),
      curl(`${url}/v1/checkpoints`, ['-H', `Authorization: Bearer ${token}`]),
      curl(`${url}/v1/captures`, [...admin, '--json', '{"namespace":"shop","pod":"counter-b"}']),
      curl(`${url}/metrics`, admin),
    ])
    expect(asked).toMatchObject([unavailable, unavailable, unavailable, unavailable])
    expect(await curl(`${url}/healthz`)).toMatchObject({ status: 200 })
    expect(await curl(`${url}/v1/checkpoints`)).toMatchObject({ status: 401 })
    resume()

    await expect.poll(list, { timeout: 20_000 }).toEqual(remembered)
    expect(await agentPodOf('b')).toEqual(before)
  })
})

describe('a node is drained and rebooted', () => {
  it('and its agent has the same list after, and goes on', async () => {
    const [newest] = await listCheckpoints('b')
    expect(await ask('b', 'PUT', `/v1/checkpoints/${newest?.id ?? ''}/pin`, {})).toMatchObject({ status: 200 })
    const before = await listCheckpoints('b')
    expect(before).toMatchObject([{ identity: { source: 'observed' }, pin: { by: 'us' } }, { state: 'ready' }])
    const { restarts } = await agentPodOf('b')

    const flags = ['--ignore-daemonsets', '--force', '--delete-emptydir-data']
    await kubectl(['drain', 'node-b', ...flags])
    onTestFinished(async () => void (await kubectl(['uncordon', 'node-b'])))
    // a drain leaves what a DaemonSet runs
    expect(await agentPodOf('b')).toMatchObject({ restarts })
    await cluster.rebootNode('b')
    await kubectl(['uncordon', 'node-b'])
    await expect.poll(async () => (await agentPodOf('b')).restarts, { timeout: 60_000 }).toBe(restarts + 1)
    await waitForAgents()

    expect(await listCheckpoints('b')).toEqual(before)
    expect(await ask('b', 'GET', '/v1/custody/verify')).toMatchObject({ status: 200, body: { sound: true } })
    await runCounter('b')
    await expectCapture('b')
  })
})

async function expectCapture(node: NodeName): Promise<void> {
  const { fileName, identity } = await captureIn('shop', node, `counter-${node}`)
  expect(identity).toMatchObject({ source: 'observed' })
  expect(archiveProblem(`${folderOf(node).path}/${fileName}`)).toBeUndefined()
}

/** By SIGSTOP; it goes on at the end of the test at the latest. */
async function stopApiServer(): Promise<() => void> {
  const pid = await cluster.processOf('apiserver')
  const resume = () => void process.kill(pid, 'SIGCONT')
  onTestFinished(resume)
  process.kill(pid, 'SIGSTOP')
  return resume
}
