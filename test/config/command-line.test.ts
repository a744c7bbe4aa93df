import { describe, expect, it } from 'vitest'
import { helpText, readCommand } from '../../src/config/command-line.ts'
import { ConfigError } from '../../src/config/load-config.ts'
import { SETTING_KEYS, SETTINGS, variableName } from '../../src/config/settings.ts'

function command(...argv: string[]) {
  return readCommand({ argv, env: {}, readFile: () => '' }, '1.2.3')
}

describe('readCommand', () => {
  it('runs with the configuration', () => {
    expect(command('--log.level=warn')).toMatchObject({ kind: 'run', config: { log: { level: 'warn' } } })
  })

  it.each([
    ['--version', 'checkpoint-agent 1.2.3\n'],
    ['--check-config', 'ok\n'],
    ['--help', helpText()],
    ['-h', helpText()],
  ])('answers %s', (flag, text) => {
    expect(command(flag)).toEqual({ kind: 'print', text })
  })

  it('helps even where the rest is wrong', () => {
    expect(command('--log.level=x', '--version', '--help', '--check-config')).toEqual({
      kind: 'print',
      text: helpText(),
    })
  })

  it.each([['--check-config'], ['--check-config=yes']])('says what is wrong when asked with %s', (flag) => {
    expect(() => command('--log.level=x', flag)).toThrow(ConfigError)
  })
})

describe('helpText', () => {
  it.each(SETTING_KEYS)('names %s, its default and its meaning', (key) => {
    const { defaultText, meaning } = SETTINGS[key]
    expect(helpText()).toContain(`  --${key}=${defaultText === '' ? '""' : defaultText}\n        ${meaning}\n`)
  })
})

describe('variableName', () => {
  it('follows from the key by one rule', () => {
    expect(variableName('server.tls.certFile')).toBe('CHECKPOINT_AGENT_SERVER_TLS_CERT_FILE')
    expect(variableName('log.level')).toBe('CHECKPOINT_AGENT_LOG_LEVEL')
  })

  it('never gives two settings the same name', () => {
    expect(new Set(SETTING_KEYS.map(variableName)).size).toBe(SETTING_KEYS.length)
  })
})

describe('SETTINGS', () => {
  it.each(SETTING_KEYS)('%s has a default that it accepts itself', (key) => {
    expect(SETTINGS[key].schema.safeParse(SETTINGS[key].defaultText).success).toBe(true)
  })
})
