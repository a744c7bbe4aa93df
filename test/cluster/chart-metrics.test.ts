import { beforeAll, describe, expect, it } from 'vitest'
import { z } from 'zod'
import { useChart } from './chart-fixture.ts'
import { cluster } from './cluster-harness.ts'
import { curl } from './curl.ts'
import { agentUrl, captureIn } from './installed-agents.ts'
import { HELM_MS, NAMESPACE, upgradeChart } from './installed-chart.ts'
import { installMonitoringKinds } from './monitoring-kinds.ts'
import { type Prometheus, startPrometheus } from './prometheus.ts'

const VALUES = { config: { capture: { diskFloor: { percent: '0%', minFree: '0' } } } }

const KINDS = [
  { kind: 'PodMonitor', section: 'podMonitor' },
  { kind: 'ServiceMonitor', section: 'serviceMonitor' },
] as const

const targets = z.object({
  activeTargets: z.array(
    z.object({
      labels: z.looseObject({ job: z.string(), node: z.string().optional() }),
      health: z.string(),
      lastError: z.string(),
    }),
  ),
})
const samples = z.object({
  result: z.array(
    z.object({
      metric: z.looseObject({ job: z.string(), node: z.string() }),
      value: z.tuple([z.number(), z.string()]),
    }),
  ),
})
const evaluatedRule = z.object({ name: z.string(), query: z.string(), health: z.string(), state: z.string() })
const rules = z.object({ groups: z.array(z.object({ rules: z.array(evaluatedRule) })) })

let prometheus: Prometheus

// first to come and last to go: helm can neither make nor remove what the API server does not know
beforeAll(installMonitoringKinds)
useChart(VALUES)

describe.each(KINDS)('Prometheus, with a $kind and the credentials that the chart brings', ({ kind, section }) => {
  const job = `${kind}/${NAMESPACE}/${NAMESPACE}`
  const eachAgent = ['node-a', 'node-b'].map((node) => ({ job, node }))

  beforeAll(async () => {
    const metrics = { [section]: { enabled: true, interval: '1s' }, prometheusRule: { enabled: true } }
    await upgradeChart({ ...VALUES, metrics })
    const { spec } = z.object({ spec: z.unknown() }).parse(await find('PrometheusRule'))
    prometheus = await startPrometheus({ monitors: [await find(kind)], rules: spec })
    return () => prometheus.stop()
  }, HELM_MS)

  it('scrapes the agents of both nodes', async () => {
    const expected = eachAgent.map((each) => ({ ...each, health: 'up', lastError: '' }))
    await expect.poll(listTargets, { timeout: 30_000 }).toEqual(expected)
  })

  it('knows of each node what its agent counts', async () => {
    expect(await query('checkpoint_agent_can_checkpoint == 1')).toMatchObject(eachAgent)
    const captured = () => query('checkpoint_agent_captures_total{outcome="succeeded",node="node-a"}')
    const before = Number((await captured())[0]?.value ?? 0)
    await captureIn('shop', 'a', 'counter-a')
    await expect.poll(captured).toMatchObject([{ job, node: 'node-a', value: String(before + 1) }])
  })

  it('evaluates every alert of the chart, and none has a reason', async () => {
    const found = await listRules()
    expect(found.length).toBeGreaterThan(5)
    const silent = found.map((rule) => ({ ...rule, health: 'ok', state: 'inactive' }))
    await expect.poll(listRules, { timeout: 30_000 }).toEqual(silent)
  })

  it('matches the agents of both nodes with the selector of the alerts', async () => {
    const down = (await listRules()).find(({ name }) => name === 'CheckpointAgentDown')?.query ?? ''
    expect(down).toMatch(/^up\{.+\} == 0$/)
    expect(await query(down.replace('== 0', '== 1'))).toMatchObject(eachAgent)
  })

  it('can read nothing else with them', async () => {
    const path = 'jsonpath={.data.token}'
    const secret = await cluster.kubectl(['-n', NAMESPACE, 'get', 'secret', `${NAMESPACE}-metrics`, '-o', path])
    const credentials = ['-H', `Authorization: Bearer ${Buffer.from(secret, 'base64').toString()}`]
    const url = await agentUrl('a')
    const statusOf = async (route: string) => (await curl(`${url}${route}`, credentials)).status
    expect(await statusOf('/metrics')).toBe(200)
    const others = ['/v1/checkpoints', '/v1/checkpoints?namespace=shop', '/v1/captures', '/v1/custody', '/v1/retention']
    expect(await Promise.all(others.map(statusOf))).toEqual(others.map(() => 403))
  })
})

async function find(kind: string): Promise<unknown> {
  return JSON.parse(await cluster.kubectl(['-n', NAMESPACE, 'get', kind, NAMESPACE, '-o', 'json'])) as unknown
}

async function listTargets(): Promise<readonly object[]> {
  const { activeTargets } = targets.parse(await prometheus.get('/api/v1/targets?state=active'))
  const found = activeTargets.map(({ labels, ...rest }) => ({ job: labels.job, node: labels.node, ...rest }))
  return found.toSorted(byPlace)
}

async function listRules(): Promise<readonly z.output<typeof evaluatedRule>[]> {
  return rules.parse(await prometheus.get('/api/v1/rules')).groups.flatMap((group) => group.rules)
}

async function query(expression: string): Promise<readonly { job: string; node: string; value: string }[]> {
  const { result } = samples.parse(await prometheus.get(`/api/v1/query?query=${encodeURIComponent(expression)}`))
  const found = result.map(({ metric: { job, node }, value: [, value] }) => ({ job, node, value }))
  return found.toSorted(byPlace)
}

function byPlace(one: { job: string; node?: string | undefined }, other: typeof one): number {
  return `${one.job} ${one.node ?? ''}`.localeCompare(`${other.job} ${other.node ?? ''}`)
}
