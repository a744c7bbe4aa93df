import { expect, it } from 'vitest'
import type { ContainerRuntime } from '../../../src/runtime/container-runtime.ts'
import { NodeContainers } from '../../../src/agent/containers/node-containers.ts'
import { RunningContainers } from '../../../src/agent/containers/running-containers.ts'
import { startTestAgent } from '../../support/test-agent.ts'

it('asks for the state of those alone that are seen, and once for all who ask at the same time', async () => {
  const calls: string[] = []
  const namespaces = ['bank', 'shop']
  const at = new Date('2026-01-31T12:00:00Z')
  const count = (call: string) => {
    calls.push(call)
    return new Promise((resolve) => setImmediate(resolve))
  }
  const runtime = {
    listSandboxes: async () => {
      await count('sandboxes')
      return namespaces.map((namespace) => ({
        id: namespace,
        namespace,
        pod: 'web-0',
        podUid: 'uid',
        isReady: true,
        createdAt: at,
        labels: {},
      }))
    },
    listContainers: async () => {
      await count('containers')
      return Array.from({ length: 100 }, (_, index) => ({
        id: `container-${String(index).padStart(3, '0')}`,
        sandboxId: namespaces[index < 3 ? 1 : 0] ?? '',
        name: `counter-${String(index)}`,
        image: 'busybox',
        imageReference: 'busybox',
        state: 'running' as const,
        createdAt: at,
      }))
    },
    findContainer: async (id: string) => {
      await count(`status of ${id}`)
      return undefined
    },
    listUsage: async () => {
      await count('usage')
      return new Map()
    },
  } as unknown as ContainerRuntime
  const running = new RunningContainers({
    runtime,
    containers: new NodeContainers(runtime),
    store: { findLastCheckpoint: () => undefined } as never,
    captureInFlight: () => undefined,
  })

  const looks = await Promise.all(Array.from({ length: 50 }, () => running.look()))
  expect(calls.toSorted()).toEqual(['containers', 'sandboxes'])
  expect(looks[49]?.namespaces.toSorted()).toEqual(namespaces)
  expect(await looks[0]?.describe(() => false)).toEqual([])
  expect(calls).toHaveLength(2)
  const described = await Promise.all(looks.map((look) => look.describe((namespace) => namespace === 'shop')))
  expect(described.map((containers) => containers.length)).toEqual(looks.map(() => 3))
  expect(calls.slice(2).toSorted()).toEqual([
    'status of container-000',
    'status of container-001',
    'status of container-002',
    'usage',
  ])
  // What is known is of the moment: nothing of it is kept.
  await running.look()
  expect(calls).toHaveLength(8)
})

it('shows what runs, by namespace, pod and container', async () => {
  await using test = await startTestAgent()
  test.runtime.webPod()
  const { namespaces, describe } = await test.agent.lookAtRunning()
  expect(namespaces).toEqual(['shop'])
  const shown = await describe(() => true)
  expect(shown[0]).toMatchObject({ identity: { namespace: 'shop' }, startedAt: expect.any(Date) as Date })
})
