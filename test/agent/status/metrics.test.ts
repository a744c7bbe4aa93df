import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { startTestAgent } from '../../support/test-agent.ts'

interface Documented {
  readonly name: string
  readonly type: string
  readonly labels: readonly string[]
  readonly help: string
}

/** The table of the page. */
function documented(): Documented[] {
  const page = readFileSync(join(import.meta.dirname, '../../../docs/reference/metrics.md'), 'utf8')
  return [...page.matchAll(/^\| `(checkpoint_agent_\w+)` \| (\w+) \| ([^|]*) \| (.*) \|$/gm)].map(
    ([, name = '', type = '', labels = '', help = '']) => ({
      name,
      type,
      labels: [...labels.matchAll(/`(\w+)`/g)].map(([, label = '']) => label),
      help,
    }),
  )
}

describe('/metrics', () => {
  it('has the metrics of docs/reference/metrics.md and no other, with these types, labels and words', async () => {
    await using test = await startTestAgent()
    test.runtime.webPod()
    const { id } = await test.agent.captures.request({
      namespace: 'shop',
      pod: 'web-node-a',
      container: 'counter',
      requestedBy: 'ada',
      actor: { user: 'ada', groups: [], address: '10.0.0.7', requestId: 'r-1' },
    })
    await test.agent.captures.wait(id, {})
    await test.agent.retention.sweep({ trigger: 'schedule' })
    const { text } = await test.agent.metrics.render()

    const types = new Map(
      [...text.matchAll(/^# TYPE (checkpoint_agent_\w+) (\w+)$/gm)].map(([, name, type]) => [name, type]),
    )
    const helps = [...text.matchAll(/^# HELP (checkpoint_agent_\w+) (.*)$/gm)]
    const pages = documented()
    expect(helps.map(([, name, help]) => ({ name, type: types.get(name), help }))).toEqual(
      pages.map(({ name, type, help }) => ({ name, type, help })),
    )
    for (const [, name = '', labels = ''] of text.matchAll(/^(checkpoint_agent_\w+)\{([^}]*)\}/gm)) {
      const metric = pages.find(
        (page) => name.replace(/_(?:bucket|sum|count)$/, '') === page.name || name === page.name,
      )
      const found = [...labels.matchAll(/(\w+)="/g)].map(([, label = '']) => label).filter((label) => label !== 'le')
      expect({ name, labels: found }).toEqual({ name, labels: metric?.labels })
    }
  })
})
