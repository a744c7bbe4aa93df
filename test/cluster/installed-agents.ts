import { z } from 'zod'
import { cluster, type NodeName } from './cluster-harness.ts'
import { certificateOf, curl, type CurlAnswer } from './curl.ts'
import { INSTANCE, NAMESPACE } from './installed-chart.ts'

const PORT = 9443

const checkpoint = z.looseObject({
  id: z.string(),
  fileName: z.string(),
  state: z.string(),
  sha256: z.string().optional(),
  identity: z.looseObject({ namespace: z.string().optional(), pod: z.string().optional(), source: z.string() }),
  pin: z.looseObject({ by: z.string() }).optional(),
})
const list = z.looseObject({ items: z.array(checkpoint) })

export type ListedCheckpoint = z.output<typeof checkpoint>

export interface AgentPod {
  readonly name: string
  readonly uid: string
  readonly address: string
  readonly restarts: number
}

const pods = z.object({
  items: z.array(
    z.object({
      metadata: z.object({ name: z.string(), uid: z.string(), deletionTimestamp: z.string().optional() }),
      status: z.object({
        podIP: z.string().default(''),
        containerStatuses: z.array(z.object({ restartCount: z.number() })).default([]),
      }),
    }),
  ),
})

/** The one that is not on its way out. */
export async function agentPodOf(node: NodeName): Promise<AgentPod> {
  const select = ['-l', INSTANCE, '--field-selector', `spec.nodeName=node-${node}`]
  const answer = await cluster.kubectl(['-n', NAMESPACE, 'get', 'pods', ...select, '-o', 'json'])
  const { items } = pods.parse(JSON.parse(answer))
  const pod = items.find(({ metadata }) => metadata.deletionTimestamp === undefined)
  if (pod === undefined) throw new Error(`Cannot find the agent of node "${node}"`)
  const { metadata, status } = pod
  const restarts = status.containerStatuses[0]?.restartCount ?? 0
  return { name: metadata.name, uid: metadata.uid, address: status.podIP, restarts }
}

export async function agentUrl(node: NodeName): Promise<string> {
  return `https://${(await agentPodOf(node)).address}:${PORT}`
}

/** As an admin of the cluster, by certificate. */
export async function ask(node: NodeName, method: string, path: string, body?: object): Promise<CurlAnswer> {
  const json = body === undefined ? [] : ['--json', JSON.stringify(body)]
  return curl(`${await agentUrl(node)}${path}`, [...(await certificateOf('admin')), '-X', method, ...json])
}

export async function listCheckpoints(node: NodeName, query = ''): Promise<readonly ListedCheckpoint[]> {
  const { body } = await ask(node, 'GET', `/v1/checkpoints${query}`)
  return list.parse(body).items
}

/** Once its digest is known. */
export async function captureIn(namespace: string, node: NodeName, pod: string): Promise<ListedCheckpoint> {
  const { status, body } = await ask(node, 'POST', '/v1/captures?wait=true', { namespace, pod })
  if (status !== 201) throw new Error(`Cannot capture "${pod}": ${status} ${JSON.stringify(body)}`)
  const [taken] = list.parse(body).items
  return readyCheckpoint(node, taken?.id ?? '')
}

export async function readyCheckpoint(node: NodeName, id: string): Promise<ListedCheckpoint> {
  for (const end = performance.now() + 60_000; performance.now() < end;) {
    const found = checkpoint.safeParse((await ask(node, 'GET', `/v1/checkpoints/${id}`)).body)
    if (found.data?.state === 'ready') return found.data
  }
  throw new Error(`Cannot wait for the digest of "${id}": it is not there after 60 s`)
}
