import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import process from 'node:process'
import { setTimeout as sleep } from 'node:timers/promises'
import { pathToFileURL } from 'node:url'
import { stringify } from 'yaml'
import { errorText } from '../../src/shared/errors.ts'
import { findAgentProgram } from './agent-program.ts'
import { askAgent } from './ask-agent.ts'
import { DemoError } from './demo-mode.ts'
import type { DemoNode } from './demo-node.ts'

/** The agent itself, as on a real node: a process of its own with a configuration file. */
export interface DemoAgent {
  readonly port: number
  readonly socketPath: string
  readonly configPath: string
  readonly logPath: string
  /** Resolves when it has ended, whoever wanted that. */
  readonly ended: Promise<void>
  /** In order; when `hurry` is aborted, or the agent takes too long, it is killed. */
  stop(hurry: AbortSignal): Promise<void>
}

export interface DemoAgentOptions {
  readonly node: DemoNode
  readonly folder: string
  readonly leaving: AbortSignal
  /** Told when a port is taken and the next one is tried. */
  readonly onPortTaken: (port: number) => void
}

const FIRST_PORT = 9443
const PORTS_TRIED = 100
const READY_LIMIT_MS = 30_000

/** A capture that is under way when the demo ends may take so long. */
const CAPTURE_GRACE_S = 5
const STOP_LIMIT_MS = 20_000

/** Returns when it is ready to take checkpoints. Throws a DemoError when it does not get there. */
export async function startDemoAgent(options: DemoAgentOptions): Promise<DemoAgent> {
  const program = findAgentProgram()
  for (let port = FIRST_PORT; port < FIRST_PORT + PORTS_TRIED; port += 1) {
    options.leaving.throwIfAborted()
    const agent = (await isPortFree(port)) ? await startOnPort(program, port, options) : undefined
    if (agent !== undefined) return agent
    options.onPortTaken(port)
  }
  throw new DemoError(
    `Cannot start the agent: the ports ${FIRST_PORT} to ${FIRST_PORT + PORTS_TRIED - 1} are all taken`,
  )
}

/** Undefined when somebody else took the port meanwhile. */
async function startOnPort(
  program: string,
  port: number,
  { node, folder, leaving }: DemoAgentOptions,
): Promise<DemoAgent | undefined> {
  const socketPath = join(folder, 'agent.sock')
  const configPath = join(folder, 'agent.yaml')
  const logPath = join(folder, 'agent.log')
  writeFileSync(configPath, stringify(agentSettings(node, folder, { port, socketPath })))

  const log = openSync(logPath, 'w')
  const args = ['--import', pathToFileURL(END_WITH_DEMO).href, program, '--config', configPath]
  // a session of its own: Ctrl-C is for the demo, which then ends it in order
  const child = spawn(process.execPath, args, { detached: true, stdio: ['pipe', log, log], env: agentEnvironment() })
  closeSync(log)
  const ended = once(child, 'exit').then(
    () => undefined,
    () => undefined,
  )
  try {
    await untilReady(child, socketPath, leaving)
  } catch (error) {
    child.kill('SIGKILL')
    await ended
    if (leaving.aborted) throw error
    const said = readFileSync(logPath, 'utf8')
    if (said.includes('another process listens there')) return undefined
    throw new DemoError(`Cannot start the agent: ${errorText(error)}; the end of its log:\n${endOfLog(said)}`)
  }
  const stop = async (hurry: AbortSignal) => {
    const kill = () => child.kill('SIGKILL')
    const limit = setTimeout(kill, STOP_LIMIT_MS)
    hurry.addEventListener('abort', kill)
    child.kill(hurry.aborted ? 'SIGKILL' : 'SIGTERM')
    await ended
    clearTimeout(limit)
    hurry.removeEventListener('abort', kill)
  }
  return { port, socketPath, configPath, logPath, ended, stop }
}

export function endOfLog(text: string): string {
  return text.trimEnd().split('\n').slice(-10).join('\n')
}

const END_WITH_DEMO = join(import.meta.dirname, 'end-with-demo.ts')

function agentSettings(
  node: DemoNode,
  folder: string,
  { port, socketPath }: { readonly port: number; readonly socketPath: string },
): object {
  return {
    node: { name: 'demo' },
    checkpoints: { directory: node.checkpointsDirectory },
    state: { directory: join(folder, 'state') },
    runtime: { socket: node.socketPath },
    server: { address: `127.0.0.1:${port}`, socket: socketPath, auth: { mode: 'none' } },
    // the archives are small, and the disk of somebody who tries this may well be nearly full
    capture: { diskFloor: { percent: '0%', minFree: '64MiB' } },
    freezeGuard: { cgroupRoot: node.cgroupRoot },
    shutdown: { captureGrace: `${CAPTURE_GRACE_S}s` },
  }
}

/** Without the variables that would change what the file says. */
function agentEnvironment(): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(([name]) => !/^(?:CHECKPOINT_AGENT_.*|NODE_NAME)$/.test(name))
  return Object.fromEntries(kept)
}

/** Asked over the unix socket, which nobody but this agent can be listening on. */
async function untilReady(child: ChildProcess, socketPath: string, leaving: AbortSignal): Promise<void> {
  let last = 'nothing answered'
  for (const start = Date.now(); Date.now() - start < READY_LIMIT_MS; await sleep(50)) {
    leaving.throwIfAborted()
    if (child.exitCode !== null || child.signalCode !== null) throw new Error('it has ended')
    try {
      const { status, body } = await askAgent(socketPath, 'GET', '/v1/node')
      if (status === 200 && knowsItsRuntime(JSON.parse(body))) return
      last = body
    } catch (error) {
      last = errorText(error)
    }
  }
  throw new Error(`it is not ready after ${READY_LIMIT_MS / 1000} s (${last})`)
}

function knowsItsRuntime(node: unknown): boolean {
  if (typeof node !== 'object' || node === null || !('canCheckpoint' in node)) return false
  const ability = node.canCheckpoint
  return typeof ability === 'object' && ability !== null && 'state' in ability && ability.state !== 'unknown'
}

function isPortFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', () => {
      resolve(false)
    })
    server.listen({ port, host: '127.0.0.1' }, () => {
      server.close(() => {
        resolve(true)
      })
    })
  })
}
