import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { stringify } from 'yaml'
import { z } from 'zod'
import { cluster, SCRIPT } from './cluster-harness.ts'
import { curl } from './curl.ts'
import { prepare } from './monitoring-kinds.ts'
import { discoverEndpoints, discoverPods, prefixed } from './prometheus-targets.ts'

const ADDRESS = '127.0.0.1:9090'

const endpoint = z.strictObject({
  port: z.string(),
  scheme: z.string(),
  path: z.string(),
  interval: z.string(),
  authorization: z.strictObject({
    type: z.literal('Bearer').optional(),
    credentials: z.strictObject({ name: z.string(), key: z.string() }),
  }),
  tlsConfig: z.strictObject({ insecureSkipVerify: z.boolean() }),
  relabelings: z.array(
    z.strictObject({
      action: z.literal('replace').optional(),
      sourceLabels: z.array(z.string()),
      targetLabel: z.string(),
    }),
  ),
})

const monitor = z.looseObject({
  kind: z.enum(['PodMonitor', 'ServiceMonitor']),
  metadata: z.looseObject({ name: z.string(), namespace: z.string() }),
  spec: z.strictObject({
    selector: z.strictObject({ matchLabels: z.record(z.string(), z.string()) }),
    podMetricsEndpoints: z.tuple([endpoint]).optional(),
    endpoints: z.tuple([endpoint]).optional(),
  }),
})

export interface Prometheus {
  /** `data` of an answer of its API. */
  get(path: string): Promise<unknown>
  stop(): Promise<void>
}

export interface Watched {
  /** PodMonitors and ServiceMonitors, as the API server has them. */
  readonly monitors: readonly unknown[]
  /** The groups of a PrometheusRule. */
  readonly rules: unknown
}

/** Debian's Prometheus in the network of node a. It scrapes what the monitors select, with what they say. */
export async function startPrometheus({ monitors, rules }: Watched): Promise<Prometheus> {
  const folder = mkdtempSync(join(tmpdir(), 'prometheus-'))
  const config = {
    global: { evaluation_interval: '1s' },
    rule_files: [join(folder, 'rules.yaml')],
    scrape_configs: await Promise.all(monitors.map((each) => scrapeConfigOf(monitor.parse(each)))),
  }
  writeFileSync(join(folder, 'rules.yaml'), stringify(rules))
  writeFileSync(join(folder, 'prometheus.yaml'), stringify(config), { mode: 0o600 })
  const flags = [
    `--config.file=${join(folder, 'prometheus.yaml')}`,
    `--storage.tsdb.path=${join(folder, 'data')}`,
    `--web.listen-address=${ADDRESS}`,
  ]
  const child = spawn(SCRIPT, ['run', join(prepare('prometheus'), 'prometheus'), ...flags])
  child.stdout.resume()
  const log = text(child.stderr)
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()))
  const isReady = async () => (await curl(`http://${ADDRESS}/-/ready`)).status === 200
  while (!(await isReady())) if (child.exitCode !== null) throw new Error(`Cannot start Prometheus: ${await log}`)
  return {
    async get(path) {
      const { body } = await curl(`http://${ADDRESS}${path}`)
      return z.object({ status: z.literal('success'), data: z.unknown() }).parse(body).data
    },
    async stop() {
      child.kill('SIGTERM')
      await ended
      rmSync(folder, { recursive: true })
    },
  }
}

/** What the Prometheus operator makes of it. A field that it is not known to have is refused above, so that none is passed over. */
async function scrapeConfigOf({ kind, metadata, spec }: z.output<typeof monitor>): Promise<object> {
  const { name, namespace } = metadata
  const [its] = spec.podMetricsEndpoints ?? spec.endpoints ?? []
  if (its === undefined) throw new Error(`Cannot scrape by the ${kind} "${name}": it has no endpoint`)
  const [discover, of, port] =
    kind === 'PodMonitor'
      ? ([discoverPods, 'pod', 'pod_container_port_name'] as const)
      : ([discoverEndpoints, 'service', 'endpoint_port_name'] as const)
  const selected = Object.entries(prefixed(of, spec.selector.matchLabels)).map(([label, value]) => keep(label, value))
  return {
    job_name: `${kind}/${namespace}/${name}`,
    scrape_interval: its.interval,
    scrape_timeout: its.interval,
    scheme: its.scheme,
    metrics_path: its.path,
    authorization: { type: 'Bearer', credentials: await secretOf(namespace, its.authorization.credentials) },
    tls_config: { insecure_skip_verify: its.tlsConfig.insecureSkipVerify },
    static_configs: await discover(namespace),
    relabel_configs: [
      ...selected,
      keep(port, its.port),
      // The operator adds these labels to every target.
      { source_labels: ['__meta_kubernetes_namespace'], target_label: 'namespace' },
      { source_labels: ['__meta_kubernetes_pod_name'], target_label: 'pod' },
      ...its.relabelings.map(({ sourceLabels, targetLabel }) => ({
        source_labels: sourceLabels,
        target_label: targetLabel,
      })),
    ],
  }
}

function keep(label: string, value: string): object {
  return { action: 'keep', source_labels: [`__meta_kubernetes_${label}`], regex: value }
}

async function secretOf(namespace: string, { name, key }: { name: string; key: string }): Promise<string> {
  const secret = await cluster.kubectl(['-n', namespace, 'get', 'secret', name, '-o', 'json'])
  const { data } = z.object({ data: z.record(z.string(), z.string()) }).parse(JSON.parse(secret))
  return Buffer.from(data[key] ?? '', 'base64').toString()
}
