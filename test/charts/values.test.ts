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
      // A policy is not a setting; retention-schema.test.ts checks its schema.
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

  it('are described in README.md as in values.yaml, in the layout of helm-docs', () => {
    const rows = [...readChartFile('README.md').matchAll(/^\| (\S+) \| (\w+) \| `(.*?)` \| (.+) \|$/gm)]
    expect(readChartFile('README.md')).toContain('| Key | Type | Default | Description |')
    const described = rows.map(([, key, type, value, text]) => ({ key, type, value, text }))
    expect(described).toEqual(documentedValues().toSorted((one, other) => compareKeys(one.key, other.key)))
  })

  it('are all in the schema, which knows no others but deprecated ones', () => {
    const inSchema = leavesOf({ ...schema, properties: { ...schema.properties, config: {} } })
    const deprecated = ['metrics.interval', 'metrics.labels', 'metrics.rules', 'metrics.dashboard']
    const open = ['config', 'global']
    const expected = documentedValues().map(({ key }) => open.find((name) => key.startsWith(`${name}.`)) ?? key)
    expect(inSchema.map((key) => key.replace(/\.\*$/, '')).toSorted()).toEqual(
      [...new Set(expected), ...deprecated, 'metrics.dashboardLabels', 'runtimeFolder'].toSorted(),
    )
  })

  it('have a scenario for each preset', () => {
    const presets = z.record(z.string(), z.unknown()).parse(parse(readChartFile('presets.yaml'), { merge: true }))
    expect(schema.properties?.['preset']?.enum?.toSorted()).toEqual(['', ...Object.keys(presets)].toSorted())
    expect(SCENARIOS).toEqual(expect.arrayContaining(Object.keys(presets)))
  })
})

/** Lists the settings below a section as dotted keys. A section without a closed list of keys ends in ".*". */
function leavesOf(node: SchemaNode, key = ''): string[] {
  if (node.properties === undefined || key === 'retention') return [key]
  if (node.additionalProperties !== false) return [`${key}.*`]
  return Object.entries(node.properties).flatMap(([name, below]) =>
    leavesOf(below, key === '' ? name : `${key}.${name}`),
  )
}

interface DocumentedValue {
  readonly key: string
  readonly type: string
  readonly value: string
  readonly text: string
}

/** The values that a comment `# -- …` describes; a value without one belongs to the nearest section with one. */
function documentedValues(): DocumentedValue[] {
  const comments = commentsIn(readChartFile('values.yaml'))
  const collect = (value: unknown, key: string): DocumentedValue[] => {
    const comment = comments.get(key)
    if (comment !== undefined) {
      const type = comment.type ?? typeOf(value)
      return [{ key, type, value: value === null ? 'nil' : JSON.stringify(sorted(value)), text: comment.text }]
    }
    const section = z.record(z.string(), z.unknown()).parse(value, { error: () => `${key} has no description` })
    return Object.entries(section).flatMap(([name, below]) => collect(below, key === '' ? name : `${key}.${name}`))
  }
  return collect(values, '')
}

function commentsIn(text: string): ReadonlyMap<string, { type?: string | undefined; text: string }> {
  const comments = new Map<string, { type?: string | undefined; text: string }>()
  const path: string[] = []
  const lines = text.split('\n')
  for (const [at, line] of lines.entries()) {
    const [, indent = '', name] = /^( *)(\w+):/.exec(line) ?? []
    if (name === undefined) continue
    path.splice(indent.length / 2, Infinity, name)
    const [, type, comment] = /^ *# -- (?:\((\w+)\) )?(.+)$/.exec(lines[at - 1] ?? '') ?? []
    if (comment !== undefined) comments.set(path.join('.'), { type, text: comment })
  }
  return comments
}

function typeOf(value: unknown): string {
  if (Array.isArray(value)) return 'list'
  return { boolean: 'bool', number: 'int' }[typeof value as string] ?? typeof value
}

/** With the keys of each object in the order of the alphabet, as helm-docs prints them. */
function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted)
  if (typeof value !== 'object' || value === null) return value
  const entries = Object.entries(value).toSorted(([one], [other]) => (one < other ? -1 : 1))
  return Object.fromEntries(entries.map(([name, below]) => [name, sorted(below)]))
}

function compareKeys(one: string, other: string): number {
  return one.toLowerCase() < other.toLowerCase() ? -1 : 1
}
