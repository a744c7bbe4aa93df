import { lstatSync, mkdirSync, readFileSync, readdirSync, renameSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

/**
 * One folder for each node, in a fixed place, so that the next run finds what a killed one left. Who starts a node clears
 * away the dead ones beside it, so a test that needs a dead one has another place.
 */
export const NODES_FOLDER = process.env['CHECKPOINT_AGENT_NODES'] ?? '/var/tmp/checkpoint-agent-nodes'

/** A pid is used again in time; together with its start time (clock ticks since boot) it names one process. */
export interface ProcessIdentity {
  readonly pid: number
  readonly startTicks: number
}

export interface NodeRecord {
  readonly name: string
  readonly bootId: string
  readonly owner: ProcessIdentity
  readonly keeper?: ProcessIdentity
}

export function nodeFolder(name: string): string {
  return join(NODES_FOLDER, name)
}

/** Where all of the node's cgroups lie, at the top of every hierarchy. */
export function nodeCgroup(name: string): string {
  return `ckpt-${name}`
}

/** Returns `undefined` when the name is taken. */
export function claimNode(name: string): NodeRecord | undefined {
  const record = { name, bootId: readBootId(), owner: identify(process.pid) }
  ensureNodesFolder()
  try {
    mkdirSync(nodeFolder(name), { mode: 0o700 })
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EEXIST') return undefined
    throw error
  }
  saveNode(record)
  return record
}

export function saveNode(record: NodeRecord): void {
  const path = join(nodeFolder(record.name), 'node.json')
  writeFileSync(`${path}.new`, JSON.stringify(record))
  renameSync(`${path}.new`, path)
}

export function findNode(name: string): NodeRecord | undefined {
  try {
    return JSON.parse(readFileSync(join(nodeFolder(name), 'node.json'), 'utf8')) as NodeRecord
  } catch {
    return undefined
  }
}

/** Nodes whose owner is gone and that nobody is removing. */
export function listDeadNodes(): readonly string[] {
  ensureNodesFolder()
  return readdirSync(NODES_FOLDER).filter((name) => {
    const record = findNode(name)
    return record === undefined ? isOlderThanMinute(nodeFolder(name)) : !isOwned(record) && !isKept(record)
  })
}

export function isOwned({ owner, bootId }: NodeRecord): boolean {
  return bootId === readBootId() && isSameProcess(owner)
}

export function isKept({ keeper, bootId }: NodeRecord): boolean {
  return keeper !== undefined && bootId === readBootId() && isSameProcess(keeper)
}

export function identify(pid: number): ProcessIdentity {
  const startTicks = readStartTicks(pid)
  if (startTicks === undefined) throw new Error(`Cannot identify process "${pid}": it has ended`)
  return { pid, startTicks }
}

export function isSameProcess({ pid, startTicks }: ProcessIdentity): boolean {
  return readStartTicks(pid) === startTicks
}

function readStartTicks(pid: number): number | undefined {
  let stat: string
  try {
    stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
  } catch {
    return undefined
  }
  // the command name, in parentheses, may itself hold spaces and parentheses
  const [state, ...fields] = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return state === 'Z' ? undefined : Number(fields[18])
}

function readBootId(): string {
  return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()
}

/** /var/tmp is everyone's: what lies below is removed as root, so the folder must be root's. */
function ensureNodesFolder(): void {
  mkdirSync(NODES_FOLDER, { recursive: true, mode: 0o755 })
  const { uid, mode } = lstatSync(NODES_FOLDER)
  if (uid !== 0 || (mode & 0o022) !== 0) throw new Error(`Cannot use "${NODES_FOLDER}": only root may own and write it`)
}

/** A node claimed a moment ago may not have its record yet. */
function isOlderThanMinute(folder: string): boolean {
  const stats = statSync(folder, { throwIfNoEntry: false })
  return stats !== undefined && Date.now() - stats.mtimeMs > 60_000
}
