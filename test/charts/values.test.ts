import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { z } from 'zod'
import { SETTING_KEYS } from '../../src/config/settings.ts'
import { readChartFile, SCENARIOS, takeConfig } from './rendered-chart.ts'

interface SchemaNode {
  readonly additionalProperties?: unknown
  readonly enum?: readonly unknown[] | undefined
  readonly properties?: Readonly<Record<string, SchemaNode>> | undefined
}

const schemaNode: z.ZodType<SchemaNode> = z.lazy(() =>
  z.looseObject({
    additionalProperties: z.unknown().optional(),
    enum: z.array(z.unknown()).optional(),
    properties: z.record(z.string(), schemaNode).optional(),
  }),
)
const schema = schemaNode.parse(JSON.parse(readChartFile('values.schema.json')))
const values = z.looseObject({ config: z.unknown() }).parse(parse(readChartFile('values.yaml')))

describe('the values of the chart', () => {
  it('know every setting of the agent and no other', () => {
    expect(leavesOf(schema.properties?.['config'] ?? {}).toSorted()).toEqual(
      // A policy is no setting; what may stand in it, its own reader says.
      [...SETTING_KEYS, 'retention'].toSorted(),
    )
  })

  it('take a retention policy', () => {
    const policy = { rules: [{ match: { namespace: 'shop' }, maxCount: 3 }] }
    expect(
      takeConfig({ ...z.looseObject({}).parse(values.config), retention: policy }).retention.policy.rules,
    ).toHaveLength(2)
  })

  it('are a configuration that the agent takes', () => {
    expect(takeConfig(values.config).server.address).toMatch(/:9443$/)
  })

  it('belong to this version of the agent', () => {
    const { version } = z
      .object({ version: z.string() })
      .parse(JSON.parse(readFileSync(join(import.meta.dirname, '../../package.json'), 'utf8')))
    expect(parse(readChartFile('Chart.yaml'))).toMatchObject({ version, appVersion: version })
  })

  it('are described in README.md, each with its default', () => {
    const rows = [...readChartFile('README.md').matchAll(/^\| `([\w.]+)` \| (?:`(.*?)`)? \|/gm)]
    const described = Object.fromEntries(rows.map(([, key = '', text = '']) => [key, text]))
    expect(described).toEqual(Object.fromEntries(defaultsOf(values)))
  })

  it('have a scenario for each preset', () => {
    const presets = z.record(z.string(), z.unknown()).parse(parse(readChartFile('presets.yaml'), { merge: true }))
    expect(schema.properties?.['preset']?.enum?.toSorted()).toEqual(['', ...Object.keys(presets)].toSorted())
    expect(SCENARIOS).toEqual(expect.arrayContaining(Object.keys(presets)))
  })
})

/** The settings below a section, as dotted keys. A section that lets anything in gives a key that no setting has. */
function leavesOf(node: SchemaNode, key = ''): string[] {
  if (node.properties === undefined) return [key]
  if (node.additionalProperties !== false) return [`${key}.*`]
  return Object.entries(node.properties).flatMap(([name, below]) =>
    leavesOf(below, key === '' ? name : `${key}.${name}`),
  )
}

/** Objects that are Kubernetes' own are one value. */
function defaultsOf(value: unknown, key = ''): [string, string][] {
  const isSection = z.record(z.string(), z.unknown()).safeParse(value)
  const opaque = ['resources', 'updateStrategy', 'metrics.labels', 'metrics.dashboardLabels']
  if (!isSection.success || opaque.includes(key) || Object.keys(isSection.data).length === 0)
    return [[key, value === '' ? '' : JSON.stringify(value).replaceAll(/^"|"$/g, '')]]
  return Object.entries(isSection.data).flatMap(([name, below]) =>
    defaultsOf(below, key === '' ? name : `${key}.${name}`),
  )
}
