import { type ChildProcess, spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { text } from 'node:stream/consumers'
import { type Credentials, type NodeAnswer, type NodeRequest, requestThrough } from './node-request.ts'

export type NodeName = 'a' | 'b'

export interface CommandResult {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

export interface CommandOptions {
  /** Default: 60 s. The command is then killed and the promise rejects. */
  readonly timeoutMs?: number
  readonly input?: string
  /** Beside PATH and HOME, which the node sets. */
  readonly env?: Readonly<Record<string, string>>
}

export interface KubeletSettings {
  /** Lines of KubeletConfiguration, e.g. `runtimeRequestTimeout: 2s`. */
  readonly extra?: string
  readonly gates?: Readonly<Record<string, boolean>>
}

export interface KubeletRequest extends NodeRequest {
  /** Default: a client certificate of the group system:masters. With "none", no certificate is shown. */
  readonly credentials?: Credentials | 'none'
}

/** The script that does everything; the functions below are its commands. */
export const SCRIPT = `${import.meta.dirname}/cluster`

/** The repository's folder inside both nodes, read-only; `node` is on the PATH there. */
export const CHECKOUT_IN_NODE = '/mnt/checkpoint-agent'

const ADDRESSES = { a: '10.213.0.11', b: '10.213.0.12' }
const FIRST_UP_MS = 30 * 60_000
const otherCluster = process.env['E2E_KUBECONFIG']

/**
 * The real two-node cluster of this machine (`test/cluster/cluster`, see the README beside it). With `E2E_KUBECONFIG=/file`
 * `kubectl` and `apply` talk to that cluster instead, `up` and `down` do nothing, and what needs a node throws.
 */
export const cluster = {
  /** Idempotent: a whole cluster is left as it is, a half dead one is made anew. */
  async up(): Promise<void> {
    if (otherCluster === undefined) await succeed(runScript(['up'], { timeoutMs: FIRST_UP_MS }))
  },

  async down(): Promise<void> {
    if (otherCluster === undefined) await succeed(runScript(['down'], { timeoutMs: FIRST_UP_MS }))
  },

  /** What there is of a cluster on this machine, a line each: empty after `down`. */
  async leftovers(): Promise<readonly string[]> {
    const { stdout } = await runScript(['leftovers'])
    return stdout.split('\n').filter((line) => line !== '')
  },

  /** Exit code 0: up and answering. 1: half dead. 3: down. */
  status(): Promise<CommandResult> {
    return runScript(['status'])
  },

  /** Standard output; throws with standard error when the command fails. */
  async kubectl(args: readonly string[], options: CommandOptions = {}): Promise<string> {
    if (otherCluster === undefined) return (await succeed(runScript(['kubectl', ...args], options))).stdout
    return (await succeed(run(['kubectl', '--kubeconfig', otherCluster, ...args], options))).stdout
  },

  apply(manifest: string): Promise<string> {
    return cluster.kubectl(['apply', '-f', '-'], { input: manifest })
  },

  /** Any command with KUBECONFIG set, kubectl and helm on the PATH, in the network of node a. */
  runCommand(argv: readonly string[], options: CommandOptions = {}): Promise<CommandResult> {
    return runScript(['run', ...argv], options)
  },

  /** A command on a node, to its end. Does not throw for an exit code. */
  async inNode(node: NodeName, argv: readonly string[], options: CommandOptions = {}): Promise<CommandResult> {
    const [program, ...args] = nodeCommand(node, argv)
    return collect(spawn(program, args, { env: nodeEnv(options.env) }), argv, options)
  },

  /** A long-running command on a node. The child is the command itself, so a signal to it reaches it. `down` ends it at the latest. */
  spawnInNode(node: NodeName, argv: readonly string[], options: Pick<CommandOptions, 'env'> = {}): ChildProcess {
    const [program, ...args] = nodeCommand(node, argv)
    return spawn(program, args, { env: nodeEnv(options.env) })
  },

  /** One HTTP/1.1 request to the kubelet's own port. The path is sent as it stands; POST unless `method` says otherwise. */
  async kubeletPost(node: NodeName, path: string, options: KubeletRequest = {}): Promise<NodeAnswer> {
    const { credentials = await adminCredentials(), ...request } = options
    const shown = credentials === 'none' ? { ca: (await adminCredentials()).ca } : credentials
    const headers = { host: `${ADDRESSES[node]}:10250`, ...request.headers }
    const command = nodeCommand(node, ['socat', 'STDIO', `TCP:${ADDRESSES[node]}:10250`])
    return requestThrough(command, path, { ...request, headers, tls: { ...shown, servername: `node-${node}` } })
  },

  /** One plain HTTP/1.1 request to something that listens on a node: `TCP:127.0.0.1:9443` or `UNIX-CONNECT:/run/agent.sock`. */
  async httpInNode(node: NodeName, target: string, path: string, options: NodeRequest = {}): Promise<NodeAnswer> {
    const headers = { host: 'localhost', ...options.headers }
    return requestThrough(nodeCommand(node, ['socat', 'STDIO', target]), path, { ...options, headers })
  },

  /** Restarts the node's kubelet with these settings and only these; without any, as `up` starts it. Ready when it resolves. */
  async restartKubelet(node: NodeName, { extra, gates = {} }: KubeletSettings = {}): Promise<void> {
    const gateArgs = Object.entries(gates).flatMap(([name, isOn]) => ['--gate', `${name}=${isOn}`])
    const extraArgs = extra === undefined ? [] : ['--extra', extra]
    await succeed(runScript(['kubelet', node, ...extraArgs, ...gateArgs], { timeoutMs: 120_000 }))
  },

  /** As after a power cut: kubelet, runtime and every container killed, `/run` empty, then both started. Ready when it resolves. */
  async rebootNode(node: NodeName): Promise<void> {
    await succeed(runScript(['reboot', node], { timeoutMs: 180_000 }))
  },

  /** The process of a component, as `status` names it. */
  async processOf(component: string): Promise<number> {
    const { stdout } = await cluster.status()
    const pid = Number(new RegExp(`^${component}: up, process (\\d+)$`, 'm').exec(stdout)?.[1])
    if (Number.isNaN(pid)) throw new Error(`Cannot find the process of "${component}": ${stdout}`)
    return pid
  },

  /** Components as `status` names them, e.g. `containerd-a`. `startComponent` resolves when they answer. */
  async stopComponent(...names: readonly string[]): Promise<void> {
    await succeed(runScript(['stop', ...names]))
  },

  async startComponent(...names: readonly string[]): Promise<void> {
    await succeed(runScript(['start', ...names], { timeoutMs: 120_000 }))
  },

  /** The static pod `web-node-<node>` in namespace `shop`: `counter` runs, `crash` crashes, `init` is finished. Its name. */
  async webPod(node: NodeName = 'a'): Promise<string> {
    const { stdout } = await succeed(runScript(['web-pod', node], { timeoutMs: 120_000 }))
    return stdout.trim()
  },

  /** Onto both nodes; pods use them with `imagePullPolicy: Never`. `localhost/busybox:1` is there already. */
  async loadImages(...tarFiles: readonly string[]): Promise<void> {
    await succeed(runScript(['load', ...tarFiles], { timeoutMs: 300_000 }))
  },

  address(node: NodeName): string {
    return ADDRESSES[node]
  },

  /** Where the cluster's state lies on this machine: `keys/`, `log/`, `node-a/lib/kubelet/checkpoints/`, … */
  async folder(): Promise<string> {
    return (await succeed(runScript(['folder']))).stdout.trim()
  },
}

async function adminCredentials(): Promise<Required<Credentials>> {
  const keys = `${await cluster.folder()}/keys`
  const read = (name: string) => readFileSync(`${keys}/${name}`, 'utf8')
  return { ca: read('ca.crt'), cert: read('admin.crt'), key: read('admin.key') }
}

function nodeCommand(node: NodeName, argv: readonly string[]): [string, ...string[]] {
  refuseOtherCluster(argv)
  return [SCRIPT, 'node', node, ...argv]
}

function refuseOtherCluster(argv: readonly string[]): void {
  if (otherCluster === undefined) return
  throw new Error(`Cannot run "${argv.join(' ')}": E2E_KUBECONFIG names a cluster whose nodes are out of reach`)
}

/** What the test runner sets for itself, NODE_OPTIONS above all, has no say in a node. */
function nodeEnv(env: Readonly<Record<string, string>> = {}): NodeJS.ProcessEnv {
  return { PATH: process.env['PATH'], ...env }
}

function runScript(args: readonly string[], options: CommandOptions = {}): Promise<CommandResult> {
  refuseOtherCluster(['cluster', ...args])
  return run([SCRIPT, ...args], options)
}

function run([program, ...args]: readonly [string, ...string[]], options: CommandOptions): Promise<CommandResult> {
  return collect(spawn(program, args, { env: { ...process.env, ...options.env } }), [program, ...args], options)
}

async function collect(
  child: ChildProcess,
  argv: readonly string[],
  { input, timeoutMs = 60_000 }: CommandOptions,
): Promise<CommandResult> {
  const { promise: ended, resolve, reject } = Promise.withResolvers<number | null>()
  child.on('error', reject)
  child.on('close', resolve)
  // a command may end without reading all of its input
  child.stdin?.on('error', () => undefined)
  child.stdin?.end(input)
  const timer = setTimeout(() => {
    child.kill('SIGKILL')
    reject(new Error(`Cannot wait for "${argv.join(' ')}": it did not end within ${timeoutMs} ms`))
  }, timeoutMs)
  try {
    const [code, stdout, stderr] = await Promise.all([ended, readAll(child.stdout), readAll(child.stderr)])
    return { code, stdout, stderr }
  } finally {
    clearTimeout(timer)
  }
}

async function readAll(stream: NodeJS.ReadableStream | null): Promise<string> {
  return stream === null ? '' : text(stream)
}

async function succeed(running: Promise<CommandResult>): Promise<CommandResult> {
  const result = await running
  if (result.code !== 0)
    throw new Error(`Cannot run a command of the cluster: exit code ${result.code}\n${result.stderr}${result.stdout}`)
  return result
}
