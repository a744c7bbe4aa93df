import { describe, expect, expectTypeOf, it } from 'vitest'
import type { CaptureJobList } from '../../src/api/capture-schemas.ts'
import type { CheckpointList } from '../../src/api/checkpoint-schemas.ts'
import type { ApiClient } from '../../src/api/client.ts'
import type { JsonOf } from '../../src/api/client-transport.ts'
import type { NodeResponse } from '../../src/api/node-schemas.ts'
import { operations, type OperationId } from '../../src/api/operations.ts'
import type { SweepReportResponse } from '../../src/api/retention-schemas.ts'
import { checkpoint } from '../http/http-services.ts'
import { OURS } from '../http/role-services.ts'
import { everyService, startClient } from './client-server.ts'

const container = { namespace: 'shop', pod: 'web-node-a', container: 'counter' }

/** The compiler refuses a list that lacks an operation. */
const CALLS: Readonly<Record<OperationId, (client: ApiClient) => Promise<unknown>>> = {
  kubeletCheckpoint: (client) => client.kubeletCheckpoint(container),
  getNode: (client) => client.getNode(),
  listContainers: (client) => client.listContainers({ namespace: 'shop' }),
  createCapture: (client) => client.createCapture(container),
  listCaptures: (client) => client.listCaptures({ limit: 1 }),
  getCapture: (client) => client.getCapture(OURS),
  cancelCapture: (client) => client.cancelCapture(OURS),
  listCheckpoints: (client) => client.listCheckpoints({ pinned: true, minBytes: 1, sort: 'sizeBytes' }),
  getCheckpoint: (client) => client.getCheckpoint(OURS),
  deleteCheckpoint: (client) => client.deleteCheckpoint(OURS, { reason: 'too old & too large' }),
  pinCheckpoint: (client) => client.pinCheckpoint(OURS, { reason: 'evidence' }),
  unpinCheckpoint: (client) => client.unpinCheckpoint(OURS),
  verifyCheckpoint: (client) => client.verifyCheckpoint(OURS),
  listCheckpointMembers: (client) => client.listCheckpointMembers(OURS, { limit: 10 }),
  getCheckpointArchive: async (client) => (await client.getCheckpointArchive(OURS)).body.cancel(),
  getCheckpointMember: async (client) => (await client.getCheckpointMember(OURS, 'a/b c')).body.cancel(),
  listRootfsDiff: (client) => client.listRootfsDiff(OURS, { incomplete: true }),
  watch: async (client) => {
    const events = client.watch()
    await events.next()
    await events.return()
  },
  getManifest: (client) => client.getManifest(OURS),
  listCustody: (client) => client.listCustody({ after: 3 }),
  verifyCustody: (client) => client.verifyCustody({ head: { seq: 17, hash: 'ab'.repeat(32) } }),
  getCustodyHead: (client) => client.getCustodyHead(),
  exportCustody: async (client) => (await client.exportCustody()).cancel(),
  getAccess: (client) => client.getAccess({ namespace: 'shop' }),
  getRetention: (client) => client.getRetention(),
  planRetention: (client) => client.planRetention({ policy: {} }, { include: 'keep' }),
  sweep: (client) => client.sweep({ reason: 'full disk' }),
  listSweeps: (client) => client.listSweeps(),
  getHealth: (client) => client.getHealth(),
  getReadiness: (client) => client.getReadiness({ verbose: true }),
  getMetrics: (client) => client.getMetrics(),
  getOpenApi: (client) => client.getOpenApi(),
}

describe('ApiClient', () => {
  it.each(Object.values(operations))('calls $method $path as $id', async ({ id, method, path }) => {
    const sent: { readonly method: string; readonly path: string }[] = []
    const services = everyService()
    const client = await startClient(
      {
        ...services,
        checkpoints: {
          ...services.checkpoints,
          watch: (_lastEventId, onEvent) => {
            onEvent({ id: '1', type: 'added', checkpoint: checkpoint() })
            return () => {}
          },
        },
      },
      {
        fetch: async (url, init) => {
          sent.push({ method: init.method ?? '', path: new URL(url).pathname })
          return await fetch(url, init)
        },
      },
    )
    await CALLS[id](client)
    const pattern = new RegExp(`^${path.replace('{name}', '.+').replaceAll(/\{\w+\}/g, '[^/]+')}$`)
    expect(sent).toEqual([{ method: method.toUpperCase(), path: expect.stringMatching(pattern) as string }])
  })

  it('takes the types of its answers from the operations', () => {
    expectTypeOf<JsonOf<typeof operations.getNode>>().toEqualTypeOf<NodeResponse>()
    expectTypeOf<JsonOf<typeof operations.listCheckpoints>>().toEqualTypeOf<CheckpointList>()
    expectTypeOf<JsonOf<typeof operations.listCaptures>>().toEqualTypeOf<CaptureJobList>()
    expectTypeOf<JsonOf<typeof operations.sweep>>().toEqualTypeOf<SweepReportResponse>()
    expectTypeOf<JsonOf<typeof operations.deleteCheckpoint>>().toBeNever()
    expectTypeOf<Parameters<ApiClient['listCheckpoints']>[0]>().toExtend<
      { readonly limit?: number | undefined; readonly pinned?: boolean | undefined } | undefined
    >()
  })
})
