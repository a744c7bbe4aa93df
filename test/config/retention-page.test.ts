import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { loadPolicy } from '../../src/config/load-config.ts'
import { SHIPPED_POLICY } from '../../src/retention/policy.ts'

const page = readFileSync(join(import.meta.dirname, '../../docs/concepts/retention.md'), 'utf8')

describe('docs/concepts/retention.md', () => {
  it('shows a policy that can be used as it stands', () => {
    const [, yaml = ''] = /```yaml\n([^`]+)```/.exec(page) ?? []
    expect(loadPolicy('retention.md', () => yaml)?.rules.map(({ name }) => name)).toEqual([
      'rule 1: namespace payments-*',
      'rule 2: workload batch',
      'default',
    ])
  })

  it('tells the policy that holds without one', () => {
    const pairs = (row: string) => codesOf(row).filter((code) => /^\w+: /.test(code))
    const [incomplete, damaged, incompleteAfter, damagedAfter] = codesOf('incompleteAfter')
    const yaml = `retention:
      rules: [ { ${pairs('the rule').join(', ')} } ]
      disk: { ${pairs('disk').join(', ')} }
      ${incomplete}: ${incompleteAfter}
      ${damaged}: ${damagedAfter}
      ${codesOf('orphanGrace').join(': ')}`
    const { rules, ...others } = loadPolicy('retention.md', () => yaml) ?? SHIPPED_POLICY
    expect({ ...others, rules: [] }).toEqual({ ...SHIPPED_POLICY, rules: [] })
    expect({ ...rules[0], name: 'default', isShipped: true }).toEqual(SHIPPED_POLICY.rules[0])
  })
})

/** What stands in backquotes in that row of the section on the shipped policy. */
function codesOf(row: string): string[] {
  const table = page.slice(page.indexOf('## Without a policy'))
  const line = table.split('\n').find((text) => text.replace('`', '').startsWith(`| ${row}`)) ?? ''
  return [...line.matchAll(/`([^`]+)`/g)].map(([, code = '']) => code)
}
