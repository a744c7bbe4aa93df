import { execFileSync } from 'node:child_process'
import { globSync, readFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { parseAllDocuments, parse as parseYaml, stringify } from 'yaml'
import { z } from 'zod'
import { loadConfig } from '../../src/config/load-config.ts'
import { SETTING_KEYS } from '../../src/config/settings.ts'

const ROOT = join(import.meta.dirname, '../..')
const CHART = join(ROOT, 'charts/checkpoint-agent')
// Helm has a version of Kubernetes in mind when no cluster tells it one.
const KUBERNETES = '1.36.3'

describe('the values of the chart', () => {
  it('know every setting of the agent and no other', () => {
    const schema = schemaNode.parse(JSON.parse(readText('values.schema.json')))
    expect(leavesOf(schema.properties?.['config'] ?? {}).toSorted()).toEqual(
      // A policy is no setting; what may stand in it, its own reader says.
      [...SETTING_KEYS, 'retention'].toSorted(),
    )
  })

  it('take a retention policy', () => {
    const { policy } = load(stringify({ retention: { rules: [{ match: { namespace: 'shop' }, maxCount: 3 }] } })).retention
    expect(policy.rules).toHaveLength(2)
  })

  it('are a configuration that the agent takes', () => {
    const { config } = z.object({ config: z.unknown() }).parse(parseYaml(readText('values.yaml')))
    expect(load(stringify(config)).server.address).toBe('127.0.0.1:9443')
  })

  it('belong to this version of the agent', () => {
    const { version } = z.object({ version: z.string() }).parse(JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')))
    expect(parseYaml(readText('Chart.yaml'))).toMatchObject({ version, appVersion: version })
  })
})

const helm = findHelm()
if (helm === undefined) console.warn('charts: helm is not there, its tests are skipped; test/cluster/prepare helm builds it')

describe.skipIf(helm === undefined)('the chart, as helm renders it', () => {
  it('has nothing that helm complains about', () => {
    expect(runHelm('lint', '--strict', '--kube-version', KUBERNETES, CHART)).toContain('0 chart(s) failed')
  })

  it('gives the agent the configuration of the values', () => {
    const config = configOf(render('--set', 'config.capture.minimumWait=60s', '--set', 'config.capture.queueLimit=7'))
    expect(config.capture).toMatchObject({ minimumWaitMs: 60_000, queueLimit: 7 })
  })

  it('refuses a setting that does not exist', () => {
    expect(() => render('--set', 'config.capture.queueLimits=7')).toThrow(/queueLimits/)
  })

  it('runs the agent without privileges, host namespaces and token', () => {
    const pod = podOf(render())
    expect(pod).toMatchObject({ hostNetwork: false, hostPID: false, hostIPC: false, automountServiceAccountToken: false })
    expect(pod.containers.map(({ securityContext }) => securityContext)).toEqual([
      {
        runAsUser: 0,
        runAsGroup: 0,
        privileged: false,
        allowPrivilegeEscalation: false,
        readOnlyRootFilesystem: true,
        capabilities: { drop: ['ALL'] },
      },
    ])
  })

  it.each([
    { name: 'the defaults', flags: [] },
    {
      name: 'folders of its own',
      flags: ['--set', 'config.checkpoints.directory=/data/ckpt', '--set', 'config.state.directory=/data/state', '--set', 'config.server.socket=/run/x/y.sock'],
    },
  ])('mounts the folders of the node at their own paths: $name', ({ flags }) => {
    const documents = render(...flags, '--set', 'runtimeFolder=/run/crio')
    const { volumes, containers } = podOf(documents)
    const pathByVolume = new Map(volumes.map(({ name, hostPath }) => [name, hostPath?.path]))
    const mounts = containers[0]?.volumeMounts.map(({ name, mountPath }) => [mountPath, pathByVolume.get(name)])
    const { checkpoints, state, server } = configOf(documents)
    const folders = [checkpoints.directory, state.directory, '/run/crio', server.socket?.replace(/\/[^/]*$/, '')]
    expect(mounts).toEqual([['/etc/checkpoint-agent', undefined], ...folders.map((folder) => [folder, folder])])
  })

  it('lets the agent see the cgroups of the node where it is told to', () => {
    const documents = render('--set', 'mountCgroups=true')
    expect(configOf(documents).freezeGuard.cgroupRoot).toBe('/host/cgroup')
    expect(podOf(documents).volumes).toContainEqual({ name: 'cgroups', hostPath: { path: '/sys/fs/cgroup', type: 'Directory' } })
  })

  it('waits for captures in flight when a pod ends', () => {
    const documents = render()
    expect(podOf(documents).terminationGracePeriodSeconds * 1000).toBeGreaterThan(configOf(documents).shutdown.captureGraceMs)
  })
})

interface SchemaNode {
  readonly additionalProperties?: unknown
  readonly properties?: Readonly<Record<string, SchemaNode>> | undefined
}

const schemaNode: z.ZodType<SchemaNode> = z.lazy(() =>
  z.object({ additionalProperties: z.unknown().optional(), properties: z.record(z.string(), schemaNode).optional() }),
)

const podSpec = z.looseObject({
  terminationGracePeriodSeconds: z.number(),
  containers: z.array(
    z.looseObject({
      securityContext: z.unknown(),
      volumeMounts: z.array(z.looseObject({ name: z.string(), mountPath: z.string() })),
    }),
  ),
  volumes: z.array(z.looseObject({ name: z.string(), hostPath: z.looseObject({ path: z.string() }).optional() })),
})

/** The settings below a section, as dotted keys. A section that lets anything in gives a key that no setting has. */
function leavesOf(node: SchemaNode, key = ''): string[] {
  if (node.properties === undefined) return [key]
  if (node.additionalProperties !== false) return [`${key}.*`]
  return Object.entries(node.properties).flatMap(([name, below]) => leavesOf(below, key === '' ? name : `${key}.${name}`))
}

function readText(file: string): string {
  return readFileSync(join(CHART, file), 'utf8')
}

function load(yaml: string) {
  return loadConfig({ argv: ['--config', 'config.yaml'], env: {}, readFile: () => yaml, hostName: 'node-a' })
}

/** On the PATH, or where the cluster of test/cluster keeps its own. */
function findHelm(): string | undefined {
  const cache = process.env['CHECKPOINT_AGENT_CACHE'] ?? join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'checkpoint-agent')
  const candidates = [...(process.env['PATH'] ?? '').split(':').map((folder) => join(folder, 'helm')), ...globSync(join(cache, 'helm-*/helm'))]
  return candidates.find((path) => {
    try {
      execFileSync(path, ['version', '--short'], { stdio: 'ignore' })
      return true
    } catch {
      return false
    }
  })
}

function runHelm(...args: string[]): string {
  return execFileSync(helm ?? 'helm', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
}

function render(...flags: string[]): unknown[] {
  const text = runHelm('template', 'agent', CHART, '--namespace', 'ckpt', '--kube-version', KUBERNETES, ...flags)
  return parseAllDocuments(text).map((document): unknown => document.toJS())
}

function objectOfKind(documents: readonly unknown[], kind: string): unknown {
  return documents.find((document) => z.looseObject({ kind: z.literal(kind) }).safeParse(document).success)
}

function configOf(documents: readonly unknown[]) {
  const { data } = z.looseObject({ data: z.object({ 'config.yaml': z.string() }) }).parse(objectOfKind(documents, 'ConfigMap'))
  return load(data['config.yaml'])
}

function podOf(documents: readonly unknown[]) {
  const { spec } = z
    .looseObject({ spec: z.looseObject({ template: z.looseObject({ spec: podSpec }) }) })
    .parse(objectOfKind(documents, 'DaemonSet'))
  return spec.template.spec
}
