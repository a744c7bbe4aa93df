import { nearestName } from '../shared/did-you-mean.ts'
import { describeMistake, type GivenText, type SourceReading } from './setting-source.ts'
import { isSettingKey, SETTING_KEYS, SETTINGS, type SettingKey } from './settings.ts'

/**
 * The requested action, `run` by default. `help` overrides `version`, and `version` overrides
 * `check`.
 */
export type CommandLineAction = 'run' | 'help' | 'version' | 'check'

export interface CommandLine extends SourceReading {
  readonly action: CommandLineAction
  readonly configFile: string | undefined
}

const ACTIONS = { '--help': 'help', '-h': 'help', '--version': 'version', '--check-config': 'check' } as const
const RANK: readonly CommandLineAction[] = ['run', 'check', 'version', 'help']
const FLAGS = ['config', 'help', 'version', 'check-config', ...SETTING_KEYS]

/**
 * Parses `--config FILE`, `--server.address=…` and `--server.address …`. The last occurrence of a
 * setting counts.
 */
export function readCommandLine(argv: readonly string[]): CommandLine {
  const given = new Map<SettingKey, GivenText>()
  const mistakes: string[] = []
  let action: CommandLineAction = 'run'
  let configFile: string | undefined

  const rest = [...argv]
  for (let word = rest.shift(); word !== undefined; word = rest.shift()) {
    if (Object.hasOwn(ACTIONS, word)) {
      const asked = ACTIONS[word as keyof typeof ACTIONS]
      if (RANK.indexOf(asked) > RANK.indexOf(action)) action = asked
      continue
    }
    const [, name, written] = /^--([^=]+)(?:=(.*))?$/s.exec(word) ?? []
    if (name === undefined) {
      mistakes.push(
        describeMistake('command line', 'it takes flags only, such as --server.address=127.0.0.1:9443', { text: word }),
      )
      continue
    }
    if (name !== 'config' && !isSettingKey(name)) {
      const meant = nearestName(name, FLAGS)
      mistakes.push(
        describeMistake(`--${name}`, `there is no such flag${meant === undefined ? '' : `; did you mean --${meant}?`}`),
      )
      // The next word is the value of the unknown flag, not another mistake.
      if (written === undefined && rest[0] !== undefined && !rest[0].startsWith('-')) rest.shift()
      continue
    }
    const text = written ?? takeValue(name, rest)
    if (text === undefined) mistakes.push(describeMistake(`--${name}`, 'it needs a value'))
    else if (name !== 'config') given.set(name, { text, origin: `flag --${name}` })
    else if (configFile === undefined) configFile = text
    else mistakes.push(describeMistake('--config', 'it was given twice', { text }))
  }
  return { action, configFile, given, mistakes }
}

/** Takes the next word unless it is a flag. A switch without a value means true. */
function takeValue(name: string, rest: string[]): string | undefined {
  const next = rest[0]
  const isSwitch = isSettingKey(name) && ['true', 'false'].includes(SETTINGS[name].defaultText)
  if (isSwitch && !/^(?:true|false)$/i.test(next ?? '')) return 'true'
  return next === undefined || next.startsWith('--') ? undefined : rest.shift()
}
