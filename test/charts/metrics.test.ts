import { execFileSync } from 'node:child_process'
import { globSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { stringify } from 'yaml'
import { helm, ofKind, promtool, readChartFile, renderScenario } from './rendered-chart.ts'

const ROOT = join(import.meta.dirname, '../..')
/** Written whole, or without the words that all of a family share. */
const FAMILY = 'checkpoint_agent_retention_'

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

  it('fires when it should', () => {
    writeFileSync(join(folder, 'alerts.yaml'), readChartFile('alerts.yaml'))
    writeFileSync(join(folder, 'test.yaml'), stringify(alertTests()))
    expect(runPromtool('test', 'rules', join(folder, 'test.yaml'))).toContain('SUCCESS')
  })
})

function runPromtool(...args: string[]): string {
  return execFileSync(promtool ?? 'promtool', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
}

/** Two nodes, an hour: on node-b everything goes wrong. */
function alertTests(): object {
  const fails = [
    ['checkpoint_agent_containers_frozen', 'CheckpointContainerFrozen', '0', '2'],
    ['checkpoint_agent_custody_writable', 'CheckpointCustodyBroken', '1', '0'],
    ['checkpoint_agent_runtime_up', 'CheckpointAgentBlind', '1', '0'],
    ['checkpoint_agent_retention_over_limit_bytes', 'CheckpointDiskAboveHighWatermark', '0', '1073741824'],
  ] as const
  return {
    rule_files: ['alerts.yaml'],
    evaluation_interval: '1m',
    tests: [
      {
        interval: '1m',
        input_series: [
          ...fails.flatMap(([name, , good, bad]) => [
            series(name, 'node="node-a"', `${good}x60`),
            series(name, 'node="node-b"', `${bad}x60`),
          ]),
          series('checkpoint_agent_captures_total', 'node="node-a",outcome="succeeded"', '0+1x60'),
          series('checkpoint_agent_captures_total', 'node="node-b",outcome="succeeded"', '0x60'),
          series('checkpoint_agent_captures_total', 'node="node-b",outcome="TcpEstablished"', '0+1x60'),
          series('checkpoint_agent_captures_total', 'node="node-b",outcome="cancelled"', '0+9x60'),
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
