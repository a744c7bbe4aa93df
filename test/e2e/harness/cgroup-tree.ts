import { readFileSync, readdirSync, rmdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

export type FreezerState = 'THAWED' | 'FREEZING' | 'FROZEN'

interface Hierarchy {
  readonly mountPoint: string
  readonly version: 1 | 2
  /** Empty on version 2. */
  readonly controllers: readonly string[]
}

/** The one hierarchy that always holds every process of a node: the v1 freezer where it is mounted, else the v2 tree. */
export function trackingHierarchy(): string {
  return freezerHierarchy().mountPoint
}

/** The folders named `name` at the top of every hierarchy, as far as they exist. */
export function cgroupsNamed(name: string): readonly string[] {
  return hierarchies()
    .map((hierarchy) => join(hierarchy.mountPoint, name))
    .filter((folder) => listFolders(folder) !== undefined)
}

/** `cgroup` is a path below the mount points, as in a runtime spec's `cgroupsPath`. */
export function readFreezerState(cgroup: string): FreezerState {
  const { mountPoint, version } = freezerHierarchy()
  if (version === 1) return readFileSync(join(mountPoint, cgroup, 'freezer.state'), 'utf8').trim() as FreezerState
  const wanted = readFileSync(join(mountPoint, cgroup, 'cgroup.freeze'), 'utf8').trim() === '1'
  const isFrozen = /^frozen 1$/m.test(readFileSync(join(mountPoint, cgroup, 'cgroup.events'), 'utf8'))
  if (isFrozen) return 'FROZEN'
  return wanted ? 'FREEZING' : 'THAWED'
}

export function processesOf(folder: string): readonly number[] {
  return treeOf(folder).flatMap((cgroup) => readPids(join(cgroup, 'cgroup.procs')))
}

/** A frozen process does not die of SIGKILL (v1) before it is thawed. */
export function thawTree(folder: string): void {
  for (const cgroup of treeOf(folder)) {
    writeExisting(join(cgroup, 'freezer.state'), 'THAWED')
    writeExisting(join(cgroup, 'cgroup.freeze'), '0')
  }
}

/** Returns whether the whole tree is gone; a cgroup whose last process is only just dying cannot be removed yet. */
export function removeTree(folder: string): boolean {
  for (const cgroup of treeOf(folder).toReversed()) {
    try {
      rmdirSync(cgroup)
    } catch (error) {
      if (!isErrno(error, 'ENOENT')) return false
    }
  }
  return true
}

function freezerHierarchy(): Hierarchy {
  const all = hierarchies()
  const found =
    all.find((hierarchy) => hierarchy.controllers.includes('freezer')) ??
    all.find((hierarchy) => hierarchy.version === 2)
  if (found === undefined) throw new Error('Cannot start a node: neither a v1 freezer nor a v2 cgroup tree is mounted')
  return found
}

function hierarchies(): readonly Hierarchy[] {
  const found = new Map<string, Hierarchy>()
  for (const line of readFileSync('/proc/self/mountinfo', 'utf8').split('\n')) {
    const [before, after] = line.split(' - ')
    const mountPoint = before?.split(' ')[4]
    const [type, , options] = after?.split(' ') ?? []
    if (mountPoint === undefined || (type !== 'cgroup' && type !== 'cgroup2')) continue
    const version = type === 'cgroup' ? 1 : 2
    found.set(mountPoint, { mountPoint, version, controllers: version === 1 ? (options?.split(',') ?? []) : [] })
  }
  return [...found.values()]
}

/** Parents before children: a v1 freezer thaws only below thawed parents. */
function treeOf(folder: string): readonly string[] {
  const below = listFolders(folder)
  if (below === undefined) return []
  return [folder, ...below.flatMap((name) => treeOf(join(folder, name)))]
}

function listFolders(folder: string): readonly string[] | undefined {
  try {
    return readdirSync(folder, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map((entry) => entry.name)
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return undefined
    throw error
  }
}

function readPids(path: string): readonly number[] {
  try {
    return readFileSync(path, 'utf8').split('\n').filter(Boolean).map(Number)
  } catch (error) {
    // ENODEV: the cgroup went away between open and read. EOPNOTSUPP: a threaded v2 cgroup, whose parent lists them.
    if (isErrno(error, 'ENOENT') || isErrno(error, 'ENODEV') || isErrno(error, 'EOPNOTSUPP')) return []
    throw error
  }
}

/** Opened without creating: a hierarchy has only one of the two freezer files, or neither. */
function writeExisting(path: string, text: string): void {
  try {
    writeFileSync(path, text, { flag: 'r+' })
  } catch (error) {
    if (!isErrno(error, 'ENOENT') && !isErrno(error, 'ENODEV')) throw error
  }
}

function isErrno(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code
}
