import { execFileSync } from 'node:child_process'
import { cpSync, globSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { homedir, tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { parse, parseAllDocuments, stringify } from 'yaml'
import { z } from 'zod'
import type { Config } from '../../src/config/config.ts'
import { loadConfig } from '../../src/config/load-config.ts'

export const CHART = join(import.meta.dirname, '../../charts/checkpoint-agent')

/** Helm has a version of Kubernetes in mind when no cluster tells it one. */
export const KUBERNETES = '1.36.3'

/** The values files in `ci/`, by name. */
export const SCENARIOS = globSync('ci/*-values.yaml', { cwd: CHART })
  .map((file) => basename(file, '-values.yaml'))
  .toSorted()

const CACHE =
  process.env['CHECKPOINT_AGENT_CACHE'] ??
  join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'checkpoint-agent')

export const helm = findHelm()
export const promtool = findProgram('promtool', ['--version'], 'prometheus-*/promtool')

const manifest = z.looseObject({
  apiVersion: z.string(),
  kind: z.string(),
  metadata: z.looseObject({
    name: z.string(),
    namespace: z.string().optional(),
    labels: z.record(z.string(), z.string()).default({}),
    annotations: z.record(z.string(), z.string()).default({}),
  }),
})

const mount = z.looseObject({ name: z.string(), mountPath: z.string(), readOnly: z.boolean().optional() })

const podSpec = z.looseObject({
  automountServiceAccountToken: z.boolean(),
  serviceAccountName: z.string(),
  terminationGracePeriodSeconds: z.number(),
  nodeSelector: z.record(z.string(), z.string()),
  containers: z.array(z.looseObject({ image: z.string(), securityContext: z.unknown(), volumeMounts: z.array(mount) })),
  volumes: z.array(z.looseObject({ name: z.string(), hostPath: z.looseObject({ path: z.string() }).optional() })),
})

const rule = z.strictObject({
  apiGroups: z.array(z.string()),
  resources: z.array(z.string()),
  resourceNames: z.array(z.string()).optional(),
  verbs: z.array(z.string()),
})

export type Manifest = z.output<typeof manifest>
export type PodSpec = z.output<typeof podSpec>
export type Rule = z.output<typeof rule>

export function readChartFile(file: string): string {
  return readFileSync(join(CHART, file), 'utf8')
}

export function runHelm(...args: string[]): string {
  // the cluster may have brought one since
  return execFileSync(helm ?? findHelm() ?? 'helm', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
}

/** The objects that `helm install agent --namespace ckpt` creates. */
export function render(...flags: string[]): Manifest[] {
  return renderChart(CHART, flags).filter((each) => !isHook(each))
}

/** As `render`, for a release of another name. */
export function renderRelease(release: string, ...flags: string[]): Manifest[] {
  return renderChart(CHART, flags, release).filter((each) => !isHook(each))
}

/** The objects that `helm test agent` creates and deletes. */
export function renderHooks(...flags: string[]): Manifest[] {
  return renderChart(CHART, flags).filter(isHook)
}

function isHook({ metadata }: Manifest): boolean {
  return 'helm.sh/hook' in metadata.annotations
}

const rendered = new Map<string, string>()

export function renderChart(chart: string, flags: readonly string[], release = 'agent'): Manifest[] {
  const command = [...templateCommand(chart, release), ...flags]
  const key = JSON.stringify(command)
  const text = rendered.get(key) ?? runHelm(...command)
  if (chart === CHART) rendered.set(key, text)
  return parseAllDocuments(text)
    .map((document): unknown => document.toJS())
    .filter((value) => value !== null)
    .map((value) => manifest.parse(value))
}

/** The text that `helm upgrade` prints at its end. Only a cluster makes helm print it, so a manifest includes it here. */
export function renderNotes(...flags: string[]): string {
  return withChartCopy((chart) => {
    const template = '{{ dict "notes" (include "checkpoint-agent/templates/NOTES.txt" .) | toYaml }}'
    writeFileSync(join(chart, 'templates/printed-notes.yaml'), template)
    const only = ['--is-upgrade', '--show-only', 'templates/printed-notes.yaml']
    return z.object({ notes: z.string() }).parse(parse(runHelm(...templateCommand(chart), ...only, ...flags))).notes
  })
}

/** Calls `use` with the directory of a copy of the chart, which is removed afterwards. */
export function withChartCopy<Result>(use: (chart: string) => Result): Result {
  const directory = mkdtempSync(join(tmpdir(), 'checkpoint-agent-chart-'))
  try {
    cpSync(CHART, directory, { recursive: true })
    return use(directory)
  } finally {
    rmSync(directory, { recursive: true })
  }
}

function templateCommand(chart: string, release = 'agent'): readonly string[] {
  return ['template', release, chart, '--namespace', 'ckpt', '--kube-version', KUBERNETES]
}

export function renderScenario(name: string): Manifest[] {
  return render('--values', scenarioFile(name))
}

export function scenarioFile(name: string): string {
  return join(CHART, `ci/${name}-values.yaml`)
}

export function ofKind(manifests: readonly Manifest[], kind: string): Manifest[] {
  return manifests.filter((each) => each.kind === kind)
}

export function podOf(manifests: readonly Manifest[]): PodSpec {
  const shape = z.looseObject({ spec: z.looseObject({ template: z.looseObject({ spec: podSpec }) }) })
  return shape.parse(ofKind(manifests, 'DaemonSet')[0]).spec.template.spec
}

/** The rules of each Role and ClusterRole, by kind and name. */
export function rulesOf(manifests: readonly Manifest[]): Record<string, Rule[]> {
  const roles = manifests.filter(({ kind }) => kind === 'Role' || kind === 'ClusterRole')
  return Object.fromEntries(
    roles.map((role) => [`${role.kind} ${role.metadata.name}`, z.array(rule).parse(role['rules'])]),
  )
}

export function configTextOf(manifests: readonly Manifest[]): string {
  const shape = z.looseObject({ data: z.object({ 'config.yaml': z.string() }) })
  const [found] = ofKind(manifests, 'ConfigMap').flatMap((each) => shape.safeParse(each).data ?? [])
  return shape.parse(found).data['config.yaml']
}

export function configOf(manifests: readonly Manifest[]): Config {
  return takeConfig(parse(configTextOf(manifests)))
}

/** As the agent reads it at its start, in a pod. */
export function takeConfig(config: unknown): Config {
  const yaml = stringify(config)
  const env = { KUBERNETES_SERVICE_HOST: '10.96.0.1' }
  return loadConfig({ argv: ['--config', 'config.yaml'], env, readFile: () => yaml, hostName: 'node-a' })
}

function findHelm(): string | undefined {
  return findProgram('helm', ['version', '--short'], 'helm-*/helm')
}

/** On the PATH, or where `test/cluster/prepare` keeps it. */
function findProgram(name: string, args: readonly string[], cached: string): string | undefined {
  const onPath = (process.env['PATH'] ?? '').split(':').map((folder) => join(folder, name))
  return [...onPath, ...globSync(join(CACHE, cached))].find((path) => {
    try {
      execFileSync(path, args, { stdio: 'ignore' })
      return true
    } catch {
      return false
    }
  })
}
