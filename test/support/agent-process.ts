import { spawn, type ChildProcess } from 'node:child_process'
import { closeSync, existsSync, mkdirSync, openSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { once } from 'node:events'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { SettingKey } from '../../src/config/settings.ts'
import { sendRequest, type HttpAnswer, type HttpRequestOptions } from './http-client.ts'

export type Settings = Readonly<Partial<Record<SettingKey, string | number | boolean>>>

export interface AgentProcessOptions {
  /** For its configuration, socket, log and, unless the settings say otherwise, state; used again by the next agent. */
  readonly folder: string
  readonly settings?: Settings
  /** The retention policy, as it stands in the configuration. Unless given, nothing is swept by itself. */
  readonly retention?: object
  /** Flags of Node itself, as for `NODE_OPTIONS`. */
  readonly nodeOptions?: readonly string[]
  /** A command that becomes the agent, such as `setpriv --bounding-set=-all`. */
  readonly prefix?: readonly string[]
}

export interface LogLine {
  readonly level: 'debug' | 'info' | 'warn' | 'error' | 'fatal'
  /** RFC 3339. */
  readonly time: string
  readonly msg: string
  readonly [field: string]: unknown
}

/** The agent as a process of its own, as on a node. */
export interface AgentProcess {
  readonly pid: number
  /** On the loopback address. */
  readonly port: number
  readonly socketPath: string
  /** Over TCP, or over the unix socket with `overSocket`. Any status is an answer. */
  request(
    method: string,
    path: string,
    options?: HttpRequestOptions & { readonly overSocket?: boolean },
  ): Promise<HttpAnswer>
  /** What it has logged, this run of it alone. */
  log(): readonly LogLine[]
  /** Resolves once it is gone. */
  kill9(): Promise<void>
  /** Resolves with the exit code, null when a signal ended it. */
  sigterm(): Promise<number | null>
  /** Resolves when it has ended, however that came about. */
  readonly ended: Promise<{ readonly exitCode: number | null; readonly signal: NodeJS.Signals | null }>
}

const READY_WITHIN_MS = 30_000

/** Archives of tests are of any age, and the disk of the machine is nobody's business here. */
const NO_SWEEPS = { schedule: '', disk: { highWatermark: '100%', lowWatermark: '99%' } }

/** Waits until it is ready; throws with what it said when it ends before. It also ends with this process. */
export async function startAgentProcess({
  folder,
  settings = {},
  retention = NO_SWEEPS,
  nodeOptions = [],
  prefix = [],
}: AgentProcessOptions): Promise<AgentProcess> {
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  const socketPath = String(settings['server.socket'] ?? join(folder, 'agent.sock'))
  const configPath = join(folder, 'agent.yaml')
  const complete: Settings = {
    'state.directory': join(folder, 'state'),
    'server.address': '127.0.0.1:0',
    'server.socket': socketPath,
    'log.level': 'debug',
    ...settings,
  }
  writeFileSync(configPath, JSON.stringify({ ...nest(complete), retention }, null, 2))
  const logPath = join(folder, 'agent.log')
  const logFile = openSync(logPath, 'w')
  // setpriv becomes the agent, so the pid is the agent's; a test run that is killed takes its agent along.
  const command = [...prefix, process.execPath, ...nodeOptions, agentProgram(), '--config', configPath]
  const child = spawn('setpriv', ['--pdeathsig', 'KILL', ...command], { stdio: ['ignore', logFile, logFile] })
  closeSync(logFile)
  const ended = new Promise<Awaited<AgentProcess['ended']>>((resolve, reject) => {
    child.once('error', reject)
    child.once('exit', (exitCode, signal) => {
      resolve({ exitCode, signal })
    })
  })
  await waitUntilReady(child, logPath)
  const port = portOf(readLog(logPath))

  return {
    pid: pidOf(child),
    port,
    socketPath,
    ended,
    request: (method, path, { overSocket = false, ...options } = {}) =>
      sendRequest(overSocket ? { socketPath } : { port }, method, path, options),
    log: () => readLog(logPath),
    async kill9() {
      child.kill('SIGKILL')
      await ended
    },
    async sigterm() {
      child.kill('SIGTERM')
      return (await ended).exitCode
    },
  }
}

const ROOT = join(import.meta.dirname, '../..')

/** What was built, unless it is older than its sources. */
export function agentProgram(): string {
  const built = join(ROOT, 'dist/main.js')
  const newestSource = Math.max(
    ...readdirSync(join(ROOT, 'src'), { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => statSync(join(entry.parentPath, entry.name)).mtimeMs),
  )
  return existsSync(built) && statSync(built).mtimeMs > newestSource ? built : join(ROOT, 'src/main.ts')
}

async function waitUntilReady(child: ChildProcess, logPath: string): Promise<void> {
  for (const start = performance.now(); performance.now() - start < READY_WITHIN_MS; await sleep(20)) {
    if (readLog(logPath).some(({ msg }) => msg === 'checkpoint-agent is ready')) return
    if (child.exitCode !== null || child.signalCode !== null) break
  }
  const hasEnded = child.exitCode !== null || child.signalCode !== null
  if (!hasEnded) {
    child.kill('SIGKILL')
    await once(child, 'exit')
  }
  const why = hasEnded ? 'it has ended' : `it is not ready after ${READY_WITHIN_MS / 1000} s`
  throw new Error(`Cannot start the agent: ${why}; it said:\n${readFileSync(logPath, 'utf8')}`)
}

function readLog(path: string): LogLine[] {
  return readFileSync(path, 'utf8')
    .split('\n')
    .filter((line) => line.startsWith('{') && line.endsWith('}'))
    .map((line) => JSON.parse(line) as LogLine)
}

function portOf(log: readonly LogLine[]): number {
  const port = log.find(({ msg, port: tcpPort }) => msg === 'Listening' && tcpPort !== undefined)?.['port']
  return typeof port === 'number' ? port : 0
}

/** JSON is YAML, and the settings are sections in it. */
function nest(settings: Settings): object {
  const root: Record<string, unknown> = {}
  for (const [key, value] of Object.entries(settings)) {
    const words = key.split('.')
    const last = words.pop() ?? key
    let section = root
    for (const word of words) section = (section[word] ??= {}) as Record<string, unknown>
    section[last] = value
  }
  return root
}

function pidOf(child: ChildProcess): number {
  if (child.pid === undefined) throw new Error(`Cannot start "${child.spawnfile}": the system refuses it`)
  return child.pid
}
