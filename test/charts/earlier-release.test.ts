import { copyFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import {
  CHART,
  helm,
  ofKind,
  podOf,
  render,
  renderChart,
  renderNotes,
  scenarioFile,
  withChartCopy,
} from './rendered-chart.ts'

/** Values of the previous release, each with the values of this one. */
const RENAMED = [
  { old: 'metrics.podMonitor=true', now: 'metrics.podMonitor.enabled=true' },
  { old: 'metrics.serviceMonitor=true', now: 'metrics.serviceMonitor.enabled=true' },
  {
    old: 'metrics.podMonitor=true,metrics.interval=5s',
    now: 'metrics.podMonitor.enabled=true,metrics.podMonitor.interval=5s',
  },
  {
    old: 'metrics.serviceMonitor=true,metrics.labels.release=prometheus',
    now: 'metrics.serviceMonitor.enabled=true,metrics.serviceMonitor.labels.release=prometheus',
  },
  { old: 'metrics.rules=true', now: 'metrics.prometheusRule.enabled=true' },
  {
    old: 'metrics.rules=true,metrics.labels.release=prometheus',
    now: 'metrics.prometheusRule.enabled=true,metrics.prometheusRule.labels.release=prometheus',
  },
  { old: 'metrics.dashboard=true', now: 'metrics.grafanaDashboard.enabled=true' },
  {
    old: 'metrics.dashboard=true,metrics.dashboardLabels.folder=nodes',
    now: 'metrics.grafanaDashboard.enabled=true,metrics.grafanaDashboard.labels.folder=nodes',
  },
  { old: 'runtimeFolder=/run/other', now: 'runtimeDirectory=/run/other' },
]
const COMPUTED = { old: 'terminationGracePeriodSeconds=0', now: 'terminationGracePeriodSeconds=null' }

describe.skipIf(helm === undefined)('a value of the previous release', () => {
  it.each(RENAMED)('does the same by its old name: $old', ({ old, now }) => {
    expect(render('--set', old)).toEqual(render('--set', now))
    expect(render('--set', old)).not.toEqual(render())
  })

  it.each([...RENAMED, COMPUTED])('is named with its new name in the notes of an upgrade: $old', ({ old, now }) => {
    const notes = renderNotes('--set', old)
    expect(notes).toContain('DEPRECATED')
    const name = old.split(',').at(-1)?.split('=')[0] ?? ''
    const newName = now.split(',').at(-1)?.split('=')[0] ?? ''
    expect(notes).toContain(name.replace(/\.(?:release|folder)$/, ''))
    expect(notes).toContain(newName.replace(/\.(?:release|folder)$/, ''))
  })

  it('is not named in the notes where only values of this one are used', () => {
    expect(renderNotes('--values', scenarioFile('monitored'))).not.toContain('DEPRECATED')
  })

  it('that is the default of that release renders as the defaults of this one, as with --reuse-values', () => {
    const reused = withChartCopy((chart) => {
      copyFileSync(join(import.meta.dirname, 'earlier-values.yaml'), join(chart, 'values.yaml'))
      return renderChart(chart, [])
    })
    expect(reused).toEqual(renderChart(CHART, []))
    expect(podOf(reused).nodeSelector).toEqual({ 'kubernetes.io/os': 'linux' })
    expect(ofKind(reused, 'ClusterRole').map(({ metadata }) => metadata.name)).toContain('checkpoint-creator')
  })

  it('the notes of an upgrade name the role that got another name', () => {
    expect(renderNotes()).toContain('checkpoint-taker is now checkpoint-creator')
    expect(renderNotes('--set', 'access.roles=false')).not.toContain('checkpoint-taker')
  })
})
