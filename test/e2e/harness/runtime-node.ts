import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { closeSync, mkdirSync, openSync, readFileSync } from 'node:fs'
import { Socket } from 'node:net'
import { basename, join } from 'node:path'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { connectCriAdmin } from '../../support/cri-admin.ts'
import type { CriAdmin } from '../../support/cri-admin.ts'
import { trackingHierarchy } from './cgroup-tree.ts'
import type { ContainerdLine } from './containerd-config.ts'
import { runCommand } from './node-command.ts'
import type { CommandResult, RunOptions } from './node-command.ts'
import { importTinyImages } from './node-images.ts'
import { makeNodePlaces } from './node-places.ts'
import type { NodePlaces } from './node-places.ts'
import { claimNode, identify, nodeCgroup, nodeFolder, saveNode } from './node-registry.ts'
import { leftoversOf, removeDeadNodes, removeNode, waitUntilRemoved } from './node-removal.ts'
import { prepareParts } from './prepared-parts.ts'

export interface RuntimeNodeOptions {
  readonly containerd: ContainerdLine
  /** Lower-case letters, digits and dashes; names the hostname, the cgroups and the folder. Made up when absent. */
  readonly name?: string
  /** Takes the criu program out of the node's root. */
  readonly withoutCriu?: boolean
  /** Lines of /etc/criu/runc.conf, for example `tcp-established`; without any the file does not exist. */
  readonly criuOptions?: readonly string[]
  /** Puts the checkpoints directory on a file system of its own, of this size. */
  readonly checkpointsSizeMiB?: number
  /** TOML that is merged into containerd's configuration, without its `version` line. */
  readonly extraConfig?: string
  /** Further folders of the host that the node sees under the same path. */
  readonly sharedDirs?: readonly string[]
}

export interface RuntimeNode {
  readonly name: string
  readonly containerd: ContainerdLine
  /** containerd's CRI socket; each start of containerd makes it anew, its folder stays. */
  readonly socketPath: string
  /** The same absolute path inside the node and outside, as are all paths here. Removed by `stop`. */
  readonly workDir: string
  readonly checkpointsDir: string
  readonly containerdLog: string
  /** What `runPod` needs to know of the node. */
  readonly placement: { readonly cgroupParent: string; readonly logRoot: string }
  readonly admin: CriAdmin
  /** Of the containerd that runs now; throws while none does. */
  readonly containerdPid: number
  /** Runs a command inside the node. An exit code other than 0 is a result, not an error. */
  run(command: readonly string[], options?: RunOptions): Promise<CommandResult>
  /** `ctr` in the namespace that CRI uses; rejects when it fails. */
  ctr(...args: readonly string[]): Promise<string>
  /** SIGKILL to containerd alone: shims and containers live on. */
  killContainerd(): Promise<void>
  restartContainerd(): Promise<void>
  /** Removes everything, and throws when something of it is left. May be called twice. */
  stop(): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}

/** Needs root. A node ends with the process that started it, however that ends. */
export async function startRuntimeNode(options: RuntimeNodeOptions): Promise<RuntimeNode> {
  const name = options.name ?? madeUpName()
  if (!/^[a-z0-9][a-z0-9-]{0,31}$/.test(name)) {
    throw new Error(`Cannot start node "${name}": a name is 1 to 32 lower-case letters, digits and dashes`)
  }
  if (process.getuid?.() !== 0) throw new Error(`Cannot start node "${name}": it needs root`)
  await removeDeadNodes()
  const parts = await prepareParts(options.containerd)

  let record = claimNode(name)
  if (record === undefined) {
    await waitUntilRemoved(name)
    record = claimNode(name)
    if (record === undefined) throw new Error(`Cannot start node "${name}": another process took the name`)
  }
  const keeper = startKeeper(name)
  try {
    saveNode({ ...record, keeper: identify(pidOf(keeper)) })
    return await build(name, options, parts, keeper)
  } catch (error) {
    await removeNode(name)
    releaseKeeper(keeper)
    throw error
  }
}

type Parts = Awaited<ReturnType<typeof prepareParts>>

async function build(
  name: string,
  options: RuntimeNodeOptions,
  parts: Parts,
  keeper: ChildProcess,
): Promise<RuntimeNode> {
  const places = makeNodePlaces(name, options)
  const holder = await startHolder(name, options, parts, places)
  const cgroup = join(trackingHierarchy(), nodeCgroup(name), 'runtime')
  const joinCommand = [cgroup, String(pidOf(holder)), [...parts.programs, NODE_PATH].join(':')]
  const admin = connectCriAdmin(places.socketPath)

  let containerd: ChildProcess | undefined
  let isStopped = false

  const assertRunning = (): void => {
    if (isStopped) throw new Error(`Cannot use node "${name}": it is stopped`)
  }

  const startContainerd = async (): Promise<void> => {
    const log = openSync(places.containerdLog, 'a')
    const started = spawn(JOIN_NODE, [...joinCommand, 'containerd', '-c', places.configPath], {
      detached: true,
      stdio: ['ignore', log, log],
    })
    closeSync(log)
    started.unref()
    containerd = started
    await waitUntilReady(started, admin, places.containerdLog)
  }

  const killContainerd = async (): Promise<void> => {
    if (containerd === undefined) return
    const ended = untilEnd(containerd)
    containerd.kill('SIGKILL')
    await ended
  }

  const run = async (command: readonly string[], runOptions?: RunOptions): Promise<CommandResult> => {
    assertRunning()
    return runCommand(JOIN_NODE, [...joinCommand, ...command], runOptions)
  }

  const node: RuntimeNode = {
    name,
    containerd: options.containerd,
    socketPath: places.socketPath,
    workDir: places.workDir,
    checkpointsDir: places.checkpointsDir,
    containerdLog: places.containerdLog,
    placement: { cgroupParent: `/${nodeCgroup(name)}/kubepods`, logRoot: places.podLogs },
    admin,
    get containerdPid() {
      if (containerd === undefined || hasEnded(containerd)) {
        throw new Error(`Cannot give the pid of containerd on node "${name}": it does not run`)
      }
      return pidOf(containerd)
    },
    run,
    async ctr(...args) {
      const result = await run(['ctr', '--address', places.socketPath, '--namespace', 'k8s.io', ...args])
      if (result.exitCode !== 0) throw new Error(`Cannot run "ctr ${args.join(' ')}": ${result.stderr.trim()}`)
      return result.stdout
    },
    killContainerd,
    async restartContainerd() {
      assertRunning()
      await killContainerd()
      await startContainerd()
    },
    async stop() {
      if (isStopped) return
      isStopped = true
      admin.close()
      const ended = [holder, ...(containerd === undefined ? [] : [containerd])].map((child) => untilEnd(child))
      await removeNode(name)
      await Promise.all(ended)
      releaseKeeper(keeper)
      const left = leftoversOf(name)
      if (left.length > 0) throw new Error(`Cannot stop node "${name}": left behind: ${left.join('; ')}`)
    },
    async [Symbol.asyncDispose]() {
      await node.stop()
    },
  }

  try {
    await startContainerd()
    await importTinyImages(node, join(parts.root, 'bin/busybox'))
  } catch (error) {
    admin.close()
    throw error
  }
  return node
}

const JOIN_NODE = join(import.meta.dirname, 'join-node')
const ENTER_NODE = join(import.meta.dirname, 'enter-node')
const KEEPER = join(import.meta.dirname, 'node-keeper.ts')
const NODE_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'

/** Holds the node's namespaces from before containerd's first start to after its last end. */
async function startHolder(
  name: string,
  options: RuntimeNodeOptions,
  parts: Parts,
  places: NodePlaces,
): Promise<ChildProcess> {
  const cgroup = join(trackingHierarchy(), nodeCgroup(name), 'runtime')
  mkdirSync(cgroup, { recursive: true })
  const shared = [places.workDir, places.dataDir, ...parts.programs, ...(options.sharedDirs ?? [])]
  const holder = spawn(ENTER_NODE, [cgroup], {
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: {
      PATH: process.env['PATH'],
      NODE_NAME: name,
      FOLDER: nodeFolder(name),
      LOWER: parts.root,
      SHARED: shared.join('\n'),
      WITHOUT_CRIU: options.withoutCriu === true ? '1' : '',
      CRIU_OPTIONS: (options.criuOptions ?? []).join('\n'),
    },
  })
  let said = ''
  let complaint = ''
  holder.stderr.on('data', (chunk: Buffer) => (complaint += chunk.toString()))
  for await (const chunk of holder.stdout) {
    said += String(chunk)
    if (said.includes('ready')) break
  }
  if (!said.includes('ready')) throw new Error(`Cannot make node "${name}": ${complaint.trim()}`)
  holder.stderr.destroy()
  holder.unref()
  return holder
}

function startKeeper(name: string): ChildProcess {
  const keeper = spawn(process.execPath, [KEEPER, name], { detached: true, stdio: ['pipe', 'ignore', 'inherit'] })
  keeper.unref()
  if (keeper.stdin instanceof Socket) keeper.stdin.unref()
  return keeper
}

function releaseKeeper(keeper: ChildProcess): void {
  keeper.stdin?.end()
}

async function waitUntilReady(containerd: ChildProcess, admin: CriAdmin, logPath: string): Promise<void> {
  let failure: unknown
  for (const start = Date.now(); Date.now() - start < 60_000; await sleep(30)) {
    if (hasEnded(containerd)) break
    try {
      if ((await admin.readyConditions()).includes('RuntimeReady')) return
    } catch (error) {
      failure = error
    }
  }
  const log = readFileSync(logPath, 'utf8').split('\n').slice(-15).join('\n')
  const why = hasEnded(containerd) ? 'it has ended' : 'it does not get ready within 60 s'
  throw new Error(`Cannot start containerd: ${why}; the end of ${basename(logPath)}:\n${log}`, { cause: failure })
}

async function untilEnd(child: ChildProcess): Promise<void> {
  if (hasEnded(child)) return
  child.ref()
  await once(child, 'exit')
}

function hasEnded(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null
}

function pidOf(child: ChildProcess): number {
  if (child.pid === undefined) throw new Error(`Cannot start "${child.spawnfile}": the system refuses it`)
  return child.pid
}

let nodesStarted = 0

function madeUpName(): string {
  nodesStarted += 1
  return `n${process.pid}-${nodesStarted}`
}
