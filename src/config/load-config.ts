import { hostname } from 'node:os'
import { readPolicy } from '../retention/policy-parser.ts'
import type { Policy } from '../retention/policy.ts'
import { InvalidInputError, isSystemError } from '../shared/errors.ts'
import { systemErrorReason } from '../shared/system-error.ts'
import { toConfig, type Config, type Fallbacks } from './config.ts'
import { readCommandLine } from './flag-source.ts'
import { isLoopback, parseListenAddress } from './server-setting-types.ts'
import { describeMistake, type GivenText, type SourceReading } from './setting-source.ts'
import { SETTING_KEYS, SETTINGS, type SettingKey, type SettingValues } from './settings.ts'
import { readVariableSettings, type Environment } from './variable-source.ts'
import { readYamlSettings, type YamlReading } from './yaml-source.ts'

export interface ConfigSources {
  /** Arguments without the names of node and the script. */
  readonly argv: readonly string[]
  readonly env: Environment
  readonly readFile: (path: string) => string
  /** Host name for tests; the system's by default. */
  readonly hostName?: string
}

/** Reports every mistake in the configuration, one per line. */
export class ConfigError extends InvalidInputError {
  readonly mistakes: readonly string[]

  constructor(mistakes: readonly string[]) {
    const count = mistakes.length === 1 ? '1 mistake' : `${mistakes.length} mistakes`
    super(`Cannot use the configuration: ${count}\n${mistakes.map((mistake) => `  ${mistake}`).join('\n')}`, {
      code: 'InvalidConfiguration',
      hint: 'Correct it and start again; --check-config checks it without starting, --help lists every setting.',
      extra: { mistakes },
    })
    this.mistakes = mistakes
  }
}

/**
 * Loads the configuration from four sources in increasing order of precedence: defaults, the file,
 * variables, flags. Throws ConfigError with every mistake.
 */
export function loadConfig({ argv, env, readFile, hostName = hostname() }: ConfigSources): Config {
  const flags = readCommandLine(argv)
  const file = readConfigFile(flags.configFile, readFile)
  const variables = readVariableSettings(env)
  const sources = [file, variables, flags]

  const { values: read, wrong, mistakes } = readValues(sources)
  mistakes.unshift(...sources.flatMap((source) => source.mistakes))
  const given = lastGiven(sources)
  const values = given.has('server.address') ? read : { ...read, 'server.address': defaultAddress(read) }
  const fallbacks = { nodeName: readFallbackNodeName(env, hostName, mistakes), apiServer: inClusterApiServer(env) }
  mistakes.push(
    ...findContradictions(values, wrong, fallbacks).map(({ key, reason }) =>
      describeMistake(key, reason, given.get(key)),
    ),
  )
  const { policy, mistakes: policyMistakes } = readRetention(file, flags.configFile ?? '')
  mistakes.push(...policyMistakes)
  if (mistakes.length > 0) throw new ConfigError(mistakes)
  return toConfig(values, { fallbacks, policy, configFile: flags.configFile })
}

/**
 * Reloads the policy from a changed file; undefined if it has no retention section. Throws
 * ConfigError with every mistake in it.
 */
export function loadPolicy(path: string, readFile: (path: string) => string): Policy | undefined {
  const file = readConfigFile(path, readFile)
  const { policy, mistakes } = readRetention(file, path)
  const all = [...(file.retention === undefined ? file.mistakes : []), ...mistakes]
  if (all.length > 0) throw new ConfigError(all)
  return file.retention === undefined ? undefined : policy
}

function readRetention({ retention }: YamlReading, origin: string): { policy: Policy; mistakes: string[] } {
  const { policy, mistakes } = readPolicy(retention)
  return {
    policy,
    mistakes: mistakes.map(({ key, text, reason }) =>
      describeMistake(key, reason, { origin, ...(text !== undefined && { text }) }),
    ),
  }
}

function readConfigFile(path: string | undefined, readFile: (path: string) => string): YamlReading {
  const nothing = { given: new Map<SettingKey, GivenText>() }
  if (path === undefined) return { ...nothing, mistakes: [] }
  try {
    return readYamlSettings(readFile(path), path)
  } catch (error) {
    return {
      ...nothing,
      mistakes: [describeMistake('--config', whyNotRead(error), { text: path })],
    }
  }
}

function whyNotRead(error: unknown): string {
  if (!isSystemError(error, 'ENOENT')) return `cannot be read: ${systemErrorReason(error)}`
  return 'there is no such file; write it (docs/reference/configuration.md), or leave --config out to run with the defaults'
}

/** Validates overridden values too: they would become mistakes once the later source is removed. */
function readValues(sources: readonly SourceReading[]) {
  const values: Record<string, unknown> = {}
  const mistakes: string[] = []
  const wrong = new Set<SettingKey>()
  for (const key of SETTING_KEYS) {
    const { schema, defaultText } = SETTINGS[key]
    values[key] = schema.parse(defaultText)
    for (const { given } of sources) {
      const from = given.get(key)
      if (from === undefined) continue
      const parsed = schema.safeParse(from.text)
      if (parsed.success) values[key] = parsed.data
      else {
        wrong.add(key)
        mistakes.push(describeMistake(key, parsed.error.issues[0]?.message ?? 'it is not valid', from))
      }
    }
  }
  return { values: values as SettingValues, wrong, mistakes }
}

function lastGiven(sources: readonly SourceReading[]): ReadonlyMap<SettingKey, GivenText> {
  return new Map(sources.flatMap(({ given }) => [...given]))
}

function readFallbackNodeName(env: Environment, hostName: string, mistakes: string[]): string {
  const text = env['NODE_NAME'] ?? ''
  // The kubelet registers its node under the host name in lowercase.
  if (text === '') return hostName.toLowerCase()
  const parsed = SETTINGS['node.name'].schema.safeParse(text)
  if (parsed.success) return parsed.data
  mistakes.push(
    describeMistake('node.name', parsed.error.issues[0]?.message ?? '', { text, origin: 'variable NODE_NAME' }),
  )
  return ''
}

/** Listens beyond loopback by default only if callers must authenticate. */
function defaultAddress(values: SettingValues): string {
  return values['server.auth.mode'] === 'none' ? values['server.address'] : '[::]:9443'
}

/** Reads the variables that Kubernetes sets in every container to locate its API server. */
function inClusterApiServer(env: Environment): string | undefined {
  const host = env['KUBERNETES_SERVICE_HOST'] ?? ''
  const port = env['KUBERNETES_SERVICE_PORT'] || '443'
  if (host === '') return undefined
  const url = URL.parse(`https://${host.includes(':') ? `[${host}]` : host}:${port}`)
  return url === null ? undefined : url.origin
}

interface Contradiction {
  readonly key: SettingKey
  readonly reason: string
}

/**
 * Finds combinations of valid values that contradict each other. Ignores values that are not valid.
 */
function findContradictions(
  values: SettingValues,
  wrong: ReadonlySet<SettingKey>,
  { apiServer }: Fallbacks,
): Contradiction[] {
  const found: Contradiction[] = []
  const unless = (isWrong: boolean, reason: string, key: SettingKey, ...others: SettingKey[]) => {
    if (isWrong && ![key, ...others].some((name) => wrong.has(name))) found.push({ key, reason })
  }
  const address = parseListenAddress(values['server.address'])
  const certFile = values['server.tls.certFile']
  const keyFile = values['server.tls.keyFile']
  const isSelfSigned = values['server.tls.selfSigned']

  unless(
    values['server.address'] === '' && values['server.socket'] === '',
    'it must not be empty together with server.socket: the agent would listen nowhere',
    'server.address',
    'server.socket',
  )
  unless(
    values['server.auth.mode'] === 'none' && address !== undefined && !isLoopback(address),
    'with server.auth.mode none it must be a loopback address (127.0.0.0/8, ::1, localhost): anyone who can reach it could take checkpoints',
    'server.address',
    'server.auth.mode',
  )
  unless(
    values['server.auth.mode'] === 'tokens' && values['server.auth.tokensFile'] === '',
    'it is missing: server.auth.mode tokens needs it',
    'server.auth.tokensFile',
    'server.auth.mode',
  )
  unless(
    values['server.auth.mode'] === 'kubernetes' && (values['kubernetes.apiServer'] ?? apiServer) === undefined,
    'it is missing: server.auth.mode kubernetes needs it, and this is no pod (KUBERNETES_SERVICE_HOST is not set)',
    'kubernetes.apiServer',
    'server.auth.mode',
  )
  unless(
    keyFile === '' && certFile !== '',
    'it is missing: server.tls.certFile needs its key',
    'server.tls.keyFile',
    'server.tls.certFile',
  )
  unless(
    certFile === '' && keyFile !== '',
    'it is missing: server.tls.keyFile needs its certificate',
    'server.tls.certFile',
    'server.tls.keyFile',
  )
  unless(
    isSelfSigned && (certFile !== '' || keyFile !== ''),
    'it must be false where server.tls.certFile or server.tls.keyFile is set',
    'server.tls.selfSigned',
  )
  unless(
    `${values['state.directory']}/`.startsWith(`${values['checkpoints.directory']}/`),
    'it must not be inside checkpoints.directory: others delete files there',
    'state.directory',
    'checkpoints.directory',
  )
  unless(
    values['content.requireEncryption'] && values['content.recipients'].length === 0,
    'it must not be empty where content.requireEncryption is true: nobody could read anything',
    'content.recipients',
    'content.requireEncryption',
  )
  return found
}
