import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { rawRequest } from '../http/raw-request.ts'
import { archiveProblem } from '../support/archive-check.ts'
import type { AgentProcess } from '../support/agent-process.ts'
import { inDirectory, RECORDED_ID, recordings, timeless, variantNamed } from '../support/kubelet-recordings.ts'
import { runWebPod } from './harness/test-pods.ts'
import type { WebPod } from './harness/test-pods.ts'
import { startAgentNode, type AgentNode } from './support/agent-node.ts'
import { expectAlive, stagingIn } from './support/container-checks.ts'

describe.each(['2.1', '2.4'] as const)("the kubelet's answers, containerd %s", (containerd) => {
  let on: AgentNode
  let agent: AgentProcess
  let pod: WebPod
  const given200: string[] = []

  beforeAll(async () => {
    on = await startAgentNode({ containerd, name: `kubelet-${containerd.replace('.', '-')}` })
    pod = await runWebPod(on.node.admin, on.node.placement)
    agent = await on.startAgent()
  })
  afterAll(() => on.stop())

  it('are 40', () => {
    expect(recordings).toHaveLength(40)
  })

  it.each(recordings)('$name: the same', async ({ method, path, requestHeaders, requestBody, ...recorded }) => {
    const given = await rawRequest(agent.port, {
      method,
      path,
      headers: Object.entries(requestHeaders),
      ...(requestBody !== null && { body: requestBody }),
    })
    expect(timeless(given)).toEqual(timeless(inDirectory(recorded, on.node.checkpointsDir)))
    if (given.status === 200) given200.push(pathIn(given.body))
  })

  it('that name an archive name a whole one', () => {
    const recorded200 = recordings.filter(({ status }) => status === 200)
    expect(given200).toHaveLength(recorded200.length)
    expect(new Set(given200).size).toBe(given200.length)
    expect(given200.map(archiveProblem)).toEqual(given200.map(() => undefined))
  })

  it('leave the container at work and staging empty', async () => {
    await expectAlive(on.node, pod.containers.counter)
    expect(stagingIn(on.node.checkpointsDir)).toEqual([])
  })

  it('are the same with the endpoint off', async () => {
    agent = await on.startAgent({ 'server.kubeletEndpoint': false })
    const { requests, status, body, headers } = variantNamed(/feature gate ContainerCheckpoint off/)
    expect(requests.length).toBeGreaterThan(0)
    for (const line of requests) {
      const [method = '', path = ''] = line.split(' ')
      expect(await rawRequest(agent.port, { method, path })).toMatchObject({ status, body, headers })
    }
  })
})

describe("the kubelet's answer where CRIU is missing, containerd 2.1", () => {
  let on: AgentNode
  let pod: WebPod

  beforeAll(async () => {
    on = await startAgentNode({ containerd: '2.1', name: 'kubelet-no-criu', withoutCriu: true })
    pod = await runWebPod(on.node.admin, on.node.placement)
  })
  afterAll(() => on.stop())

  it('is the same but for the id of the container', async () => {
    const recorded = variantNamed(/CRIU missing/)
    const agent = await on.startAgent()
    const given = await rawRequest(agent.port, { method: 'POST', path: '/checkpoint/shop/web-node-a/counter' })
    expect(given).toMatchObject({
      status: recorded.status,
      headers: recorded.headers,
      body: recorded.body.replace(RECORDED_ID, pod.containers.counter),
    })
    await expectAlive(on.node, pod.containers.counter)
    expect(stagingIn(on.node.checkpointsDir)).toEqual([])
  })
})

function pathIn(body: string): string {
  const { items } = JSON.parse(body) as { readonly items: readonly string[] }
  return items[0] ?? ''
}
