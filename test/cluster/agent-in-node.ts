import type { ChildProcess } from 'node:child_process'
import { existsSync, rmSync } from 'node:fs'
import { join, relative } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { agentProgram, type LogLine, type Settings } from '../support/agent-process.ts'
import { sendRequest, type HttpAnswer, type HttpRequestOptions } from '../support/http-client.ts'
import { CHECKOUT_IN_NODE, cluster, type NodeName } from './cluster-harness.ts'

export interface AgentInNodeOptions {
  readonly settings?: Settings
  /** Words before the agent's command, such as `setpriv …`. */
  readonly before?: readonly string[]
}

/** The agent as a process on a node of the cluster, beside its kubelet. */
export interface AgentInNode {
  readonly node: NodeName
  /** A socket of this machine that leads to the agent's TCP port on the node's loopback address. */
  readonly socketPath: string
  /** In the node. */
  readonly pid: number
  /** With its index, as this machine sees it. */
  readonly stateFolder: string
  request(method: string, path: string, options?: HttpRequestOptions): Promise<HttpAnswer>
  log(): readonly LogLine[]
  /** By SIGTERM. Resolves with the exit code. */
  stop(): Promise<number | null>
}

export interface Forwarder {
  readonly socketPath: string
  stop(): Promise<void>
}

export const CHECKPOINTS = '/var/lib/kubelet/checkpoints'

const PORT = 9443
const READY_WITHIN_MS = 30_000

/** Finds its runtime by itself, listens on loopback and on its unix socket, and knows of no earlier run. */
const DEFAULTS: Settings = {
  'checkpoints.directory': CHECKPOINTS,
  'runtime.socket': '',
  'server.address': `127.0.0.1:${PORT}`,
  'server.socket': '/run/checkpoint-agent/agent.sock',
  // a machine with a full disk can run the tests, too
  'capture.diskFloor.percent': '0%',
  'capture.diskFloor.minFree': 0,
}

let count = 0

/** Waits until it is ready; throws with what it said when it ends before. It also ends with this process. */
export async function startAgentInNode(
  node: NodeName,
  { settings = {}, before = [] }: AgentInNodeOptions = {},
): Promise<AgentInNode> {
  const complete: Settings = {
    'node.name': `node-${node}`,
    'state.directory': `/mnt/state/node-${node}/agent-${process.pid}-${count++}`,
    ...DEFAULTS,
    ...settings,
  }
  const program = join(CHECKOUT_IN_NODE, relative(join(import.meta.dirname, '../..'), agentProgram()))
  const flags = Object.entries(complete).map(([key, value]) => `--${key}=${String(value)}`)
  // setpriv becomes the agent, so a signal reaches the agent, and a test run that is killed takes it along
  const quiet = `--config=${join(CHECKOUT_IN_NODE, 'test/cluster/quiet-agent.yaml')}`
  const command = ['setpriv', '--pdeathsig', 'KILL', ...before, 'node', program, quiet, ...flags]
  const child = cluster.spawnInNode(node, command)
  const output = collectOutput(child)
  const ended = endOf(child)
  await waitUntilReady(child, output)
  const forwarder = await forwardToNode(node, `agent-${node}`, `TCP:127.0.0.1:${PORT}`)

  return {
    node,
    socketPath: forwarder.socketPath,
    pid: child.pid ?? 0,
    stateFolder: String(complete['state.directory']).replace(/^\/mnt\/state/, await cluster.folder()),
    request: (method, path, options) => sendRequest({ socketPath: forwarder.socketPath }, method, path, options),
    log: () => readLog(output.text),
    async stop() {
      child.kill('SIGTERM')
      const code = await ended
      await forwarder.stop()
      return code
    },
  }
}

/** Opens a socket on this machine that leads to an address in the network of a node. */
export async function forwardToNode(node: NodeName, name: string, target: string): Promise<Forwarder> {
  const file = `to-${name}`
  const socketPath = join(await cluster.folder(), file)
  rmSync(socketPath, { force: true })
  const listen = `UNIX-LISTEN:/mnt/state/${file},fork,mode=600`
  const child = cluster.spawnInNode(node, ['setpriv', '--pdeathsig', 'TERM', 'socat', listen, target])
  const output = collectOutput(child)
  const ended = endOf(child)
  for (const start = performance.now(); !existsSync(socketPath); await sleep(10)) {
    if (child.exitCode !== null || performance.now() - start > READY_WITHIN_MS)
      throw new Error(`Cannot forward "${socketPath}" to ${target}: ${output.text}`)
  }
  return {
    socketPath,
    async stop() {
      child.kill('SIGTERM')
      await ended
      rmSync(socketPath, { force: true })
    },
  }
}

interface Output {
  text: string
}

function collectOutput(child: ChildProcess): Output {
  const output: Output = { text: '' }
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding('utf8').on('data', (chunk: string) => {
      output.text += chunk
    })
  }
  return output
}

async function waitUntilReady(child: ChildProcess, output: Output): Promise<void> {
  for (const start = performance.now(); performance.now() - start < READY_WITHIN_MS; await sleep(20)) {
    if (readLog(output.text).some(({ msg }) => msg === 'checkpoint-agent is ready')) return
    if (child.exitCode !== null || child.signalCode !== null) break
  }
  child.kill('SIGKILL')
  throw new Error(`Cannot start the agent on the node; it said:\n${output.text}`)
}

function readLog(text: string): LogLine[] {
  return text
    .split('\n')
    .filter((line) => line.startsWith('{') && line.endsWith('}'))
    .map((line) => JSON.parse(line) as LogLine)
}

function endOf(child: ChildProcess): Promise<number | null> {
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('exit', resolve)
  })
}
