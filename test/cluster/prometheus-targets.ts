import { z } from 'zod'
import { cluster } from './cluster-harness.ts'

/** What a `static_configs` of Prometheus holds. */
export interface Target {
  readonly targets: readonly [string]
  readonly labels: Readonly<Record<string, string>>
}

const metadata = z.object({ name: z.string(), labels: z.record(z.string(), z.string()).default({}) })

const pods = z.object({
  items: z.array(
    z.object({
      metadata,
      spec: z.object({
        nodeName: z.string(),
        containers: z.array(
          z.object({ ports: z.array(z.object({ name: z.string(), containerPort: z.number() })).default([]) }),
        ),
      }),
      status: z.object({ podIP: z.string() }),
    }),
  ),
})

const slices = z.object({
  items: z.array(
    z.object({
      metadata,
      endpoints: z.array(
        z.object({
          addresses: z.tuple([z.string()]),
          nodeName: z.string(),
          targetRef: z.object({ kind: z.literal('Pod'), name: z.string() }),
        }),
      ),
      ports: z.array(z.object({ name: z.string(), port: z.number() })),
    }),
  ),
})

/** Each port of each pod, with the labels that Prometheus' discovery of pods gives it; Debian builds Prometheus without that. */
export async function discoverPods(namespace: string): Promise<readonly Target[]> {
  const { items } = pods.parse(await get(namespace, 'pods'))
  return items.flatMap(({ metadata: { name: pod, labels }, spec, status }) =>
    spec.containers
      .flatMap(({ ports }) => ports)
      .map(({ name, containerPort }) => ({
        targets: [`${status.podIP}:${containerPort}`],
        labels: meta({
          ...prefixed('pod', labels),
          namespace,
          pod_name: pod,
          pod_container_port_name: name,
          pod_node_name: spec.nodeName,
        }),
      })),
  )
}

/** Each port of each endpoint of each service, likewise. */
export async function discoverEndpoints(namespace: string): Promise<readonly Target[]> {
  const { items } = slices.parse(await get(namespace, 'endpointslices'))
  const services = z.object({ items: z.array(z.object({ metadata })) }).parse(await get(namespace, 'services')).items
  return items.flatMap(({ metadata: { labels }, endpoints, ports }) => {
    const service = services.find((each) => each.metadata.name === labels['kubernetes.io/service-name'])
    return endpoints.flatMap(({ addresses: [address], nodeName, targetRef }) =>
      ports.map(({ name, port }): Target => {
        const its = prefixed('service', service?.metadata.labels ?? {})
        return {
          targets: [`${address}:${port}`],
          labels: meta({
            ...its,
            namespace,
            pod_name: targetRef.name,
            endpoint_port_name: name,
            pod_node_name: nodeName,
          }),
        }
      }),
    )
  })
}

/** Labels of Kubernetes, by the names that Prometheus can have for them. */
export function prefixed(of: 'pod' | 'service', labels: Readonly<Record<string, string>>): Record<string, string> {
  const names = Object.entries(labels).map(([name, value]) => [`${of}_label_${name.replaceAll(/\W/g, '_')}`, value])
  return Object.fromEntries(names) as Record<string, string>
}

function meta(labels: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(labels).map(([name, value]) => [`__meta_kubernetes_${name}`, value]))
}

async function get(namespace: string, kind: string): Promise<unknown> {
  return JSON.parse(await cluster.kubectl(['-n', namespace, 'get', kind, '-o', 'json'])) as unknown
}
