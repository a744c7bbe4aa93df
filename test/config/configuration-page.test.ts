import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { loadConfig } from '../../src/config/load-config.ts'
import { isSettingKey, SETTING_KEYS, SETTINGS } from '../../src/config/settings.ts'

const page = readFileSync(join(import.meta.dirname, '../../docs/reference/configuration.md'), 'utf8')

describe('docs/reference/configuration.md', () => {
  it.each(SETTING_KEYS)('says of %s what the agent says', (key) => {
    const { defaultText, meaning } = SETTINGS[key]
    const shown = defaultText === '' ? '(empty)' : `\`${defaultText}\``
    expect(page).toContain(`\n| \`${key}\` | ${shown} | ${meaning} |\n`)
  })

  it('names no setting that does not exist', () => {
    const named = [...page.matchAll(/^\| `([a-zA-Z.]+)` \|/gm)].map(([, key = '']) => key)
    expect(named.filter((key) => !isSettingKey(key))).toEqual([])
    expect(named).toHaveLength(SETTING_KEYS.length)
  })

  it('has an example that works', () => {
    const [, example = ''] = /```yaml\n([\s\S]*?)```/.exec(page) ?? []
    expect(parse(example)).toBeTypeOf('object')
    const config = loadConfig({
      argv: ['--config', 'example.yaml'],
      env: {},
      readFile: () => example,
      hostName: 'node-a',
    })
    expect(config.capture).toMatchObject({
      minimumWaitMs: 60_000,
      diskFloor: { fraction: 0.1, minFreeBytes: 5 * 1024 ** 3 },
    })
  })
})
