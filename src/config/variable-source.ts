import { nearestName } from '../shared/did-you-mean.ts'
import { describeMistake, type GivenText, type SourceReading } from './setting-source.ts'
import { SETTING_KEYS, variableName, type SettingKey } from './settings.ts'

export type Environment = Readonly<Record<string, string | undefined>>

const PREFIX = 'CHECKPOINT_AGENT_'

/**
 * Directories of the development tools in test/, which may be set while those tools run the agent.
 */
const OF_THE_TOOLS: ReadonlySet<string> = new Set(['CHECKPOINT_AGENT_CACHE', 'CHECKPOINT_AGENT_CLUSTER'])

// Variables that Kubernetes sets in every pod for Services of its namespace whose names begin with
// "checkpoint-agent".
const SERVICE = /_SERVICE_(?:HOST|PORT(?:_[A-Z0-9_]+)?)$/
const SERVICE_LINK = /_PORT(?:_\d+_(?:TCP|UDP|SCTP))?$/
const SERVICE_LINK_PART = /_PORT_\d+_(?:TCP|UDP|SCTP)_(?:ADDR|PORT|PROTO)$/

/** Reads the settings among the environment variables. */
export function readVariableSettings(env: Environment): SourceReading {
  const keyByVariable = new Map<string, SettingKey>(SETTING_KEYS.map((key) => [variableName(key), key]))
  const given = new Map<SettingKey, GivenText>()
  const mistakes: string[] = []
  for (const [variable, text] of Object.entries(env)) {
    if (text === undefined || !variable.startsWith(PREFIX) || OF_THE_TOOLS.has(variable)) continue
    const key = keyByVariable.get(variable)
    if (key !== undefined) given.set(key, { text, origin: `variable ${variable}` })
    else if (!isServiceVariable(variable, text)) {
      const meant = nearestName(variable.slice(PREFIX.length), suffixes(keyByVariable))
      const suggestion = meant === undefined ? '' : `; did you mean ${PREFIX}${meant}?`
      mistakes.push(describeMistake(variable, `there is no such setting${suggestion}`, { text }))
    }
  }
  return { given, mistakes }
}

/**
 * Recognizes the variables of a Service. The value of its `…_PORT` is an address, unlike that of a
 * misspelled setting.
 */
function isServiceVariable(variable: string, text: string): boolean {
  if (SERVICE.test(variable) || SERVICE_LINK_PART.test(variable)) return true
  return SERVICE_LINK.test(variable) && /^(?:tcp|udp|sctp):\/\//.test(text)
}

function suffixes(keyByVariable: ReadonlyMap<string, SettingKey>): string[] {
  return [...keyByVariable.keys()].map((variable) => variable.slice(PREFIX.length))
}
