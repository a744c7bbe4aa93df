import { execFileSync } from 'node:child_process'
import { globSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { parse, stringify } from 'yaml'
import { z } from 'zod'
import { helm, ofKind, promtool, readChartFile, render, renderScenario } from './rendered-chart.ts'

const ROOT = join(import.meta.dirname, '../..')
/** Written whole, or without the words that all of a family share. */
const FAMILY = 'checkpoint_agent_retention_'

const alertRule = z.looseObject({
  alert: z.string(),
  expr: z.string(),
  annotations: z.looseObject({ runbook_url: z.string() }),
})

describe('alerts and dashboard', () => {
  const sources = globSync('src/**/*.ts', { cwd: ROOT })
    .map((file) => readFileSync(join(ROOT, file), 'utf8'))
    .join('\n')
  const isKnown = (name: string) => {
    const rest = name.startsWith(FAMILY) ? name.slice(FAMILY.length) : name
    return sources.includes(`'${rest}'`) || sources.includes(`\${prefix}_${rest}\``)
  }

  it.each(['alerts.yaml', 'dashboard.json'])('ask for numbers that the agent has: %s', (file) => {
    const names = new Set(readChartFile(file).match(/checkpoint_agent_\w+/g))
    const missing = [...names].filter((name) => !isKnown(name.replace(/_bucket$/, '')))
    expect(names.size).toBeGreaterThan(5)
    expect(missing).toEqual([])
  })
})

const RUNBOOKS = join(ROOT, 'docs/reference/metrics.md')

describe('each alert', () => {
  const alerts = alertsOf(parse(readChartFile('alerts.yaml')))

  it('matches one job in every selector', () => {
    expect(alerts.length).toBeGreaterThan(5)
    for (const { expr } of alerts) {
      const selectors = expr.match(/\b(?:checkpoint_agent_\w+|up)\b(?:\{[^}]*\})?/g) ?? []
      expect(selectors).not.toEqual([])
      expect(selectors.filter((selector) => !selector.includes('{job="checkpoint-agent"'))).toEqual([])
    }
  })

  it('links to its runbook', () => {
    const anchors = alerts.map(({ annotations }) =>
      annotations.runbook_url.replace(/^.*\/docs\/reference\/metrics\.md/, ''),
    )
    expect(anchors).toEqual(alerts.map(({ alert }) => `#${alert.toLowerCase()}`))
  })

  it('has a runbook', () => {
    const headings = [...readFileSync(RUNBOOKS, 'utf8').matchAll(/^#+ (\w+)$/gm)].map(([, heading]) => heading)
    expect(headings).toEqual(expect.arrayContaining(alerts.map(({ alert }) => alert)))
  })
})

describe.skipIf(helm === undefined)('metrics', () => {
  it('a PrometheusRule matches the pods of its release and nothing else', () => {
    const [rule] = ofKind(renderScenario('monitored'), 'PrometheusRule')
    const ours = '{namespace="ckpt",pod=~"agent-checkpoint-agent-[a-z0-9]{5}"'
    for (const { expr } of alertsOf(rule?.['spec'])) {
      const selectors = expr.match(/\b(?:checkpoint_agent_\w+|up)\b(?:\{[^"]*"[^"]*"[^"]*"[^"]*")?/g) ?? []
      expect(selectors).not.toEqual([])
      expect(selectors.filter((selector) => !selector.endsWith(ours))).toEqual([])
    }
  })

  it('a PrometheusRule may link to runbooks elsewhere', () => {
    const [rule] = ofKind(renderScenario('monitored'), 'PrometheusRule')
    const urls = alertsOf(rule?.['spec']).map(({ alert, annotations }) => [
      alert.toLowerCase(),
      annotations.runbook_url,
    ])
    expect(urls).toEqual(urls.map(([anchor]) => [anchor, `https://runbooks.example.com/checkpoint-agent#${anchor}`]))
  })

  it.each([
    { section: 'podMonitor', kind: 'PodMonitor', field: 'podMetricsEndpoints' },
    { section: 'serviceMonitor', kind: 'ServiceMonitor', field: 'endpoints' },
  ])('a $kind has the usual fields', ({ section, kind, field }) => {
    const relabeling = { sourceLabels: ['__meta_kubernetes_pod_uid'], targetLabel: 'uid' }
    const monitor = {
      enabled: true,
      interval: '15s',
      scrapeTimeout: '5s',
      honorLabels: true,
      labels: { release: 'prometheus' },
      annotations: { 'example.com/owner': 'platform' },
      relabelings: [relabeling],
      metricRelabelings: [{ action: 'labeldrop', regex: 'uid' }],
    }
    const [found, ...others] = render('--set-json', `metrics.${section}=${JSON.stringify(monitor)}`).filter((each) =>
      each.kind.endsWith('Monitor'),
    )
    expect(others).toEqual([])
    expect(found).toMatchObject({
      kind,
      metadata: { labels: monitor.labels, annotations: monitor.annotations },
      spec: {
        [field]: [
          {
            interval: '15s',
            scrapeTimeout: '5s',
            honorLabels: true,
            relabelings: [{ targetLabel: 'node' }, relabeling],
            metricRelabelings: monitor.metricRelabelings,
          },
        ],
      },
    })
  })

  it('a dashboard has labels and annotations for Grafana', () => {
    const dashboard = ofKind(renderScenario('monitored'), 'ConfigMap').find(({ metadata }) =>
      metadata.name.endsWith('-dashboard'),
    )
    expect(dashboard?.metadata).toMatchObject({
      labels: { grafana_dashboard: '1' },
      annotations: { grafana_folder: 'Nodes' },
    })
  })
})

if (promtool === undefined)
  console.warn('charts: promtool is not there, its tests are skipped; test/cluster/prepare prometheus fetches it')

describe.skipIf(helm === undefined || promtool === undefined)('the PrometheusRule', () => {
  const folder = mkdtempSync(join(tmpdir(), 'checkpoint-agent-rules-'))
  afterAll(() => {
    rmSync(folder, { recursive: true })
  })

  it('is one that Prometheus takes', () => {
    const [rule] = ofKind(renderScenario('monitored'), 'PrometheusRule')
    writeFileSync(join(folder, 'rendered.yaml'), stringify(rule?.['spec']))
    expect(runPromtool('check', 'rules', join(folder, 'rendered.yaml'))).toMatch(/SUCCESS: \d+ rules found/)
  })

  it('fires when it should, for the pods of its release', () => {
    const [rule] = ofKind(renderScenario('monitored'), 'PrometheusRule')
    writeFileSync(join(folder, 'rendered.yaml'), stringify(rule?.['spec']))
    writeFileSync(join(folder, 'rendered-test.yaml'), stringify(alertTests('rendered.yaml', OUR_POD, THEIR_POD)))
    expect(runPromtool('test', 'rules', join(folder, 'rendered-test.yaml'))).toContain('SUCCESS')
  })

  it('fires for the job of that name where there is no operator', () => {
    writeFileSync(join(folder, 'alerts.yaml'), readChartFile('alerts.yaml'))
    const tests = alertTests('alerts.yaml', 'job="checkpoint-agent"', 'job="other"')
    writeFileSync(join(folder, 'test.yaml'), stringify(tests))
    expect(runPromtool('test', 'rules', join(folder, 'test.yaml'))).toContain('SUCCESS')
  })
})

const OUR_POD = 'namespace="ckpt",pod="agent-checkpoint-agent-x2x9k"'
const THEIR_POD = 'namespace="ckpt",pod="agent-checkpoint-agent-other-x2x9k"'

function runPromtool(...args: string[]): string {
  return execFileSync(promtool ?? 'promtool', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
}

/** Two nodes, an hour: on node-b everything of ours fails, on node-c everything of others. */
function alertTests(ruleFile: string, ours: string, others: string): object {
  const fails = [
    ['checkpoint_agent_containers_frozen', 'CheckpointContainerFrozen', '0', '2'],
    ['checkpoint_agent_custody_writable', 'CheckpointCustodyBroken', '1', '0'],
    ['checkpoint_agent_runtime_up', 'CheckpointAgentBlind', '1', '0'],
    ['checkpoint_agent_retention_over_limit_bytes', 'CheckpointDiskAboveHighWatermark', '0', '1073741824'],
    ['up', 'CheckpointAgentDown', '1', '0'],
  ] as const
  return {
    rule_files: [ruleFile],
    evaluation_interval: '1m',
    tests: [
      {
        interval: '1m',
        input_series: [
          ...fails.flatMap(([name, , good, bad]) => [
            series(name, `node="node-a",${ours}`, `${good}x60`),
            series(name, `node="node-b",${ours}`, `${bad}x60`),
            series(name, `node="node-c",${others}`, `${bad}x60`),
          ]),
          series('checkpoint_agent_captures_total', `node="node-a",outcome="succeeded",${ours}`, '0+1x60'),
          series('checkpoint_agent_captures_total', `node="node-b",outcome="succeeded",${ours}`, '0x60'),
          series('checkpoint_agent_captures_total', `node="node-b",outcome="TcpEstablished",${ours}`, '0+1x60'),
          series('checkpoint_agent_captures_total', `node="node-c",outcome="TcpEstablished",${others}`, '0+1x60'),
          series('checkpoint_agent_captures_total', `node="node-b",outcome="cancelled",${ours}`, '0+9x60'),
        ],
        promql_expr_test: [...fails.map(([, alert]) => firing(alert)), firing('CheckpointCapturesFailing')],
      },
    ],
  }
}

function series(name: string, labels: string, values: string): object {
  return { series: `${name}{${labels}}`, values }
}

function firing(alert: string): object {
  return {
    expr: `count by (node) (ALERTS{alertname="${alert}",alertstate="firing"})`,
    eval_time: '50m',
    exp_samples: [{ labels: '{node="node-b"}', value: 1 }],
  }
}

function alertsOf(groups: unknown): z.output<typeof alertRule>[] {
  const shape = z.object({ groups: z.array(z.looseObject({ rules: z.array(alertRule) })) })
  return shape.parse(groups).groups.flatMap(({ rules }) => rules)
}
