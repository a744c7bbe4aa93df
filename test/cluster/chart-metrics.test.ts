import { beforeAll, describe, expect, it } from 'vitest'
import { z } from 'zod'
import { useChart } from './chart-fixture.ts'
import { cluster } from './cluster-harness.ts'
import { curl } from './curl.ts'
import { agentUrl, captureIn } from './installed-agents.ts'
import { NAMESPACE } from './installed-chart.ts'
import { installMonitoringKinds } from './monitoring-kinds.ts'
import { type Prometheus, startPrometheus } from './prometheus.ts'

const VALUES = {
  metrics: { podMonitor: true, serviceMonitor: true, interval: '1s', rules: true },
  config: { capture: { diskFloor: { percent: '0%', minFree: '0' } } },
}

const KINDS = ['PodMonitor', 'ServiceMonitor'] as const
const JOBS = KINDS.map((kind) => `${kind}/${NAMESPACE}/${NAMESPACE}`)
const EACH_AGENT = JOBS.flatMap((job) => ['node-a', 'node-b'].map((node) => ({ job, node })))

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
const rules = z.object({
  groups: z.array(z.object({ rules: z.array(z.object({ health: z.string(), state: z.string() })) })),
})

let prometheus: Prometheus

// first to come and last to go: helm can neither make nor remove what the API server does not know
beforeAll(installMonitoringKinds)
useChart(VALUES)
beforeAll(async () => {
  const monitors = await Promise.all(KINDS.map((kind) => find(kind)))
  const { spec } = z.object({ spec: z.unknown() }).parse(await find('PrometheusRule'))
  prometheus = await startPrometheus({ monitors, rules: spec })
  return () => prometheus.stop()
})

describe('Prometheus, with the credentials that the chart brings', () => {
  it('scrapes the agents of both nodes', async () => {
    const expected = EACH_AGENT.map((each) => ({ ...each, health: 'up', lastError: '' }))
    await expect.poll(listTargets, { timeout: 30_000 }).toEqual(expected)
  })

  it('knows of each node what its agent counts', async () => {
    expect(await query('checkpoint_agent_can_checkpoint == 1')).toMatchObject(EACH_AGENT)
    await captureIn('shop', 'a', 'counter-a')
    await expect
      .poll(() => query('checkpoint_agent_captures_total{outcome="succeeded"} > 0'))
      .toMatchObject(JOBS.map((job) => ({ job, node: 'node-a', value: '1' })))
  })

  it('evaluates every alert of the chart, and none has a reason', async () => {
    const silent = { health: 'ok', state: 'inactive' }
    const found = await listRules()
    expect(found.length).toBeGreaterThan(5)
    await expect.poll(listRules, { timeout: 30_000 }).toEqual(found.map(() => silent))
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

async function listRules(): Promise<readonly object[]> {
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
