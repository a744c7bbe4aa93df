import { loadConfig, type ConfigSources } from './load-config.ts'
import type { Config } from './config.ts'
import { readCommandLine } from './flag-source.ts'
import { SETTING_KEYS, SETTINGS, variableName } from './settings.ts'

/** The action that the command line selects: run the agent, print a text, or verify. */
export type Command =
  | { readonly kind: 'run'; readonly config: Config }
  | { readonly kind: 'print'; readonly text: string }
  | { readonly kind: 'verify-custody' | 'verify-manifest'; readonly argv: readonly string[] }

/**
 * Parses the command line. Throws ConfigError. `--help` and `--version` work even with a broken
 * configuration.
 */
export function readCommand(sources: ConfigSources, version: string): Command {
  const [word, ...rest] = sources.argv
  if (word === 'verify-custody' || word === 'verify-manifest') return { kind: word, argv: rest }
  const { action } = readCommandLine(sources.argv)
  if (action === 'help') return { kind: 'print', text: helpText() }
  if (action === 'version') return { kind: 'print', text: `checkpoint-agent ${version}\n` }
  const config = loadConfig(sources)
  return action === 'check' ? { kind: 'print', text: 'ok\n' } : { kind: 'run', config }
}

/** Lists every setting with its default and meaning. */
export function helpText(): string {
  return `checkpoint-agent: takes checkpoints of the containers of this node

Usage: checkpoint-agent [--config FILE] [--SETTING=VALUE ...]
       checkpoint-agent verify-custody DIR [--head FILE] [--public-key FILE]
       checkpoint-agent verify-manifest FILE ARCHIVE [--public-key FILE]

  --config FILE    YAML file with the settings below, one section for each dot
  --check-config   say "ok" or what is wrong with the configuration, and end
  --help           this text
  --version        the version

Each setting can stand in the file, in an environment variable, or in a flag; the later in this row wins.
The variable of ${EXAMPLE} is ${variableName(EXAMPLE)}.

Settings (with their defaults):

${SETTING_KEYS.map(describeSetting).join('\n')}
`
}

const EXAMPLE = 'server.tls.certFile'

function describeSetting(key: (typeof SETTING_KEYS)[number]): string {
  const { defaultText, meaning } = SETTINGS[key]
  return `  --${key}=${defaultText === '' ? '""' : defaultText}\n        ${meaning}`
}
