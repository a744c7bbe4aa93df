import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { OPEN_TO_ALL } from '../../../src/access/access.ts'
import { createApp } from '../../../src/http/app.ts'
import { silentLogger } from '../../../src/shared/logger.ts'
import { rawRequest } from '../../http/raw-request.ts'
import { inDirectory, RECORDED_ID, recordings, timeless, variantNamed } from '../../support/kubelet-recordings.ts'
import { startTestAgent, type AgentSettings, type TestAgent } from '../../support/test-agent.ts'

interface ServedAgent {
  readonly test: TestAgent
  readonly port: number
  stop(): Promise<void>
}

/** The whole agent but its own listeners, in front of a simulated runtime. */
async function serve(settings: AgentSettings = {}): Promise<ServedAgent> {
  const test = await startTestAgent(settings)
  const { agent } = test
  const app = createApp(
    {
      node: { status: () => agent.status(undefined) },
      containers: { look: () => agent.lookAtRunning() },
      captures: agent.captures,
      checkpoints: agent.checkpoints,
      actions: agent.actions,
      contents: agent.contents,
      custody: {
        page: (query) => agent.custody.page(query),
        head: () => agent.custody.head(),
        verify: (head) => agent.custody.verify(head),
        export: (after) => agent.custody.export(after),
        manifest: (checkpoint) => agent.manifest(checkpoint),
      },
      retention: agent.retention,
      kubelet: agent.kubelet,
      health: { isAlive: () => true, checks: () => agent.health() },
      metrics: () => agent.metrics.render(),
    },
    { logger: silentLogger, nodeName: 'node-a', access: OPEN_TO_ALL },
  )
  const server: Server = createServer(app)
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve)
  })
  return {
    test,
    port: (server.address() as AddressInfo).port,
    async stop() {
      server.closeAllConnections()
      await new Promise((resolve) => {
        server.close(resolve)
      })
      await test[Symbol.asyncDispose]()
    },
  }
}

describe("the kubelet's recorded answers, from the whole agent on the simulated runtime", () => {
  let served: ServedAgent

  beforeAll(async () => {
    served = await serve()
    served.test.runtime.webPod()
  })
  afterAll(() => served.stop())

  it('are 40', () => {
    expect(recordings).toHaveLength(40)
  })

  it.each(recordings)('$name: the same', async ({ method, path, requestHeaders, requestBody, ...recorded }) => {
    const given = await rawRequest(served.port, {
      method,
      path,
      headers: Object.entries(requestHeaders),
      ...(requestBody !== null && { body: requestBody }),
    })
    expect(timeless(given)).toEqual(timeless(inDirectory(recorded, served.test.folder.checkpoints)))
  })

  it('are the same where CRIU is missing, but for the id of the container', async () => {
    const recorded = variantNamed(/CRIU missing/)
    served.test.runtime.criu = 'missing'
    const id = served.test.runtime.pods.containers().find(({ name }) => name.toString() === 'counter')?.id ?? ''
    const given = await rawRequest(served.port, { method: 'POST', path: '/checkpoint/shop/web-node-a/counter' })
    expect(given).toMatchObject({
      status: recorded.status,
      headers: recorded.headers,
      body: recorded.body.replace(RECORDED_ID, id),
    })
  })
})

describe('the kubelet endpoint switched off', () => {
  it('answers as a kubelet whose feature gate is off', async () => {
    const served = await serve({ kubeletEndpoint: false })
    try {
      const { requests, status, body, headers } = variantNamed(/feature gate ContainerCheckpoint off/)
      for (const line of requests) {
        const [method = '', path = ''] = line.split(' ')
        expect(await rawRequest(served.port, { method, path })).toMatchObject({ status, body, headers })
      }
    } finally {
      await served.stop()
    }
  })
})
