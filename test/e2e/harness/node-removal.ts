import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { cgroupsNamed, processesOf, removeTree, thawTree } from './cgroup-tree.ts'
import { isKept, isOwned, findNode, listDeadNodes, nodeCgroup, nodeFolder } from './node-registry.ts'

const LIMIT_MS = 30_000

/**
 * Ends whatever lives in the node's cgroups, frozen or not, and removes cgroups, mounts and files. May be called for a
 * node that is half made, half removed, or being removed by somebody else. Throws when something does not go.
 */
export async function removeNode(name: string): Promise<void> {
  await endProcesses(name)
  await unmountBelow(nodeFolder(name))
  removeFiles(nodeFolder(name))
}

/** What runs that were killed have left. */
export async function removeDeadNodes(): Promise<void> {
  for (const name of listDeadNodes()) await removeNode(name)
}

/** Waits for a node that is being removed after its owner's death; throws when its owner lives. */
export async function waitUntilRemoved(name: string): Promise<void> {
  for (const start = Date.now(); existsSync(nodeFolder(name)); await sleep(50)) {
    const record = findNode(name)
    if (record !== undefined && isOwned(record)) {
      throw new Error(`Cannot start node "${name}": process ${record.owner.pid} runs a node of this name`)
    }
    if (record !== undefined && !isKept(record)) await removeNode(name)
    if (Date.now() - start > LIMIT_MS) throw new Error(`Cannot start node "${name}": the last one is not removed yet`)
  }
}

/** What of a node is left in the kernel or on disk; empty after `removeNode`. */
export function leftoversOf(name: string): readonly string[] {
  const cgroups = cgroupsNamed(nodeCgroup(name))
  return [
    ...cgroups.map((folder) => `cgroup ${folder}`),
    ...cgroups.flatMap((folder) => processesOf(folder).map((pid) => `process ${pid} in ${folder}`)),
    ...mountsBelow(nodeFolder(name)).map((path) => `mount ${path}`),
    ...loopDevicesBelow(nodeFolder(name)).map((device) => `loop device ${device}`),
    ...(existsSync(nodeFolder(name)) ? [`folder ${nodeFolder(name)}`] : []),
  ]
}

async function endProcesses(name: string): Promise<void> {
  for (const start = Date.now(); ; await sleep(20)) {
    const cgroups = cgroupsNamed(nodeCgroup(name))
    for (const folder of cgroups) thawTree(folder)
    const pids = new Set(cgroups.flatMap((folder) => processesOf(folder)))
    for (const pid of pids) kill(pid)
    if (pids.size === 0 && cgroups.every((folder) => removeTree(folder))) return
    if (Date.now() - start > LIMIT_MS) {
      const left = pids.size > 0 ? `processes ${[...pids].join(', ')} do not end` : 'its cgroups stay busy'
      throw new Error(`Cannot remove node "${name}": ${left}`)
    }
  }
}

/** Innermost first. Somebody else may be removing the same node. */
function unmountOnce(folder: string): unknown {
  let failure: unknown
  for (const path of mountsBelow(folder).toReversed()) {
    try {
      execFileSync('umount', [path], { stdio: ['ignore', 'ignore', 'pipe'] })
    } catch (error) {
      failure = error
    }
  }
  return failure
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error
  }
}

async function unmountBelow(folder: string): Promise<void> {
  // a process that was killed keeps its mounts busy until it is really gone
  for (const start = Date.now(); mountsBelow(folder).length > 0; await sleep(20)) {
    const failure = unmountOnce(folder)
    const [left] = mountsBelow(folder)
    if (left !== undefined && Date.now() - start > LIMIT_MS) {
      throw new Error(`Cannot remove "${folder}": ${left} is still mounted`, { cause: failure })
    }
  }
  // the kernel drops the mounts of an ended namespace, and with them the loop device, a moment after its last process
  for (const start = Date.now(); loopDevicesBelow(folder).length > 0; await sleep(20)) {
    if (Date.now() - start > LIMIT_MS) {
      throw new Error(`Cannot remove "${folder}": ${loopDevicesBelow(folder).join(', ')} is still in use`)
    }
  }
}

/** In the order of mounting. */
function mountsBelow(folder: string): readonly string[] {
  return readFileSync('/proc/self/mounts', 'utf8')
    .split('\n')
    .map((line) => line.split(' ')[1] ?? '')
    .filter((path) => path.startsWith(`${folder}/`))
}

function loopDevicesBelow(folder: string): readonly string[] {
  return readdirSync('/sys/block').filter((device) => {
    if (!device.startsWith('loop')) return false
    try {
      return readFileSync(`/sys/block/${device}/loop/backing_file`, 'utf8').startsWith(`${folder}/`)
    } catch {
      return false // not in use
    }
  })
}

/** The record goes last, so that a removal cut short is taken up again. */
function removeFiles(folder: string): void {
  if (!existsSync(folder)) return
  for (const name of readdirSync(folder)) {
    if (name !== 'node.json') rmSync(join(folder, name), { recursive: true, force: true })
  }
  rmSync(folder, { recursive: true, force: true })
}
