import { existsSync } from 'node:fs'
import { readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { isSystemError } from '../shared/errors.ts'

/**
 * Controls the freezer of one container's cgroup directly. Prefer the runtime's own resume; see
 * `freeze-control.ts`.
 */
export interface CgroupFreezer {
  /**
   * Checks whether no process of the container can run. Throws if part of the cgroup is not
   * readable.
   */
  isFrozen(): Promise<boolean>
  /** Freezes the cgroup that holds the processes, which the runtime checks for a pause. */
  freeze(): Promise<void>
  /** Thaws the cgroup and its frozen children. */
  thaw(): Promise<void>
}

/** Children inspected per cgroup. Runtimes create fewer; the others belong to the workload. */
const MAX_CHILDREN = 64

/**
 * Finds the freezer of the container whose runtime spec names this cgroup, in version 1, version 2
 * and hybrid hierarchies. Undefined if the hierarchy is not mounted here or lacks that cgroup.
 */
export function findFreezer(cgroupRoot: string, cgroupsPath: string): CgroupFreezer | undefined {
  const path = toCgroupPath(cgroupsPath)
  if (path === undefined) return undefined
  const version1 = join(cgroupRoot, 'freezer', path)
  if (isIn(version1, VERSION_1)) return new Freezer(version1, VERSION_1)
  const version2 = [join(cgroupRoot, path), join(cgroupRoot, 'unified', path)].find((folder) => isIn(folder, VERSION_2))
  return version2 === undefined ? undefined : new Freezer(version2, VERSION_2)
}

/**
 * Converts `slice:prefix:id` (systemd) or a plain path (cgroupfs) to a path below the root of a
 * hierarchy.
 */
export function toCgroupPath(cgroupsPath: string): string | undefined {
  const [slice = '', prefix = '', id] = cgroupsPath.split(':')
  const path = id === undefined ? cgroupsPath : `${expandSlice(slice)}${prefix === '' ? id : `${prefix}-${id}`}.scope`
  const isInside = path !== '' && !path.split('/').includes('..') && !path.includes('\0')
  return isInside ? path : undefined
}

/**
 * Expands the name of a systemd slice: `a-b.slice` is inside `a.slice`, and `-.slice` is the root.
 */
function expandSlice(slice: string): string {
  if (slice === '-.slice') return ''
  const words = (slice === '' ? 'system' : slice.replace(/\.slice$/, '')).split('-')
  return words.map((_, index) => `${words.slice(0, index + 1).join('-')}.slice/`).join('')
}

/** File and values that control a freeze in one cgroup version. */
interface Version {
  readonly control: string
  readonly frozen: string
  readonly thawed: string
  /** Checks whether this cgroup itself is frozen or freezing. */
  readonly saysFrozen: (folder: string) => Promise<boolean>
}

const VERSION_1: Version = {
  control: 'freezer.state',
  frozen: 'FROZEN',
  thawed: 'THAWED',
  saysFrozen: async (folder) => (await readFile(join(folder, 'freezer.state'), 'utf8')).trim() !== 'THAWED',
}

const VERSION_2: Version = {
  control: 'cgroup.freeze',
  frozen: '1',
  thawed: '0',
  // The events also report a freeze by an ancestor, such as the slice of the pod.
  saysFrozen: async (folder) =>
    (await readFile(join(folder, 'cgroup.freeze'), 'utf8')).trim() === '1' ||
    /^frozen 1$/m.test((await readIfThere(join(folder, 'cgroup.events'))) ?? ''),
}

/**
 * Freezes and thaws a cgroup or its child. crun with the systemd manager puts the processes, and
 * their freeze, into a child of the scope that the spec names; the scope itself then does not
 * report a freeze. The children therefore count if the cgroup holds no process.
 */
class Freezer implements CgroupFreezer {
  readonly #folder: string
  readonly #version: Version

  constructor(folder: string, version: Version) {
    this.#folder = folder
    this.#version = version
  }

  async isFrozen(): Promise<boolean> {
    if (await this.#version.saysFrozen(this.#folder)) return true
    const children = await this.#populatedChildren()
    if (children.length === 0 || (await hasProcesses(this.#folder))) return false
    const frozen = await Promise.all(children.map((child) => this.#version.saysFrozen(child)))
    return frozen.every(Boolean)
  }

  async freeze(): Promise<void> {
    const children = await this.#populatedChildren()
    const [only] = children
    const isInChild = children.length === 1 && only !== undefined && !(await hasProcesses(this.#folder))
    await this.#write(isInChild ? only : this.#folder, this.#version.frozen)
  }

  async thaw(): Promise<void> {
    await this.#write(this.#folder, this.#version.thawed)
    for (const child of await this.#children()) {
      if (await this.#version.saysFrozen(child)) await this.#write(child, this.#version.thawed)
    }
  }

  async #write(folder: string, state: string): Promise<void> {
    await writeFile(join(folder, this.#version.control), state)
  }

  async #children(): Promise<string[]> {
    const entries = await readdir(this.#folder, { withFileTypes: true })
    return entries
      .filter((entry) => entry.isDirectory())
      .slice(0, MAX_CHILDREN)
      .map((entry) => join(this.#folder, entry.name))
      .filter((folder) => isIn(folder, this.#version))
  }

  async #populatedChildren(): Promise<string[]> {
    const children = await this.#children()
    const populated = await Promise.all(children.map(isPopulated))
    return children.filter((_, index) => populated[index])
  }
}

/** Version 1 does not have this file; there, every child that holds a process counts. */
async function isPopulated(folder: string): Promise<boolean> {
  const events = await readIfThere(join(folder, 'cgroup.events'))
  return events === undefined ? await hasProcesses(folder) : !/^populated 0$/m.test(events)
}

/** Processes of other PID namespaces are listed as 0, which still counts. */
async function hasProcesses(folder: string): Promise<boolean> {
  return ((await readIfThere(join(folder, 'cgroup.procs'))) ?? '').trim() !== ''
}

function isIn(folder: string, { control }: Version): boolean {
  return existsSync(join(folder, control))
}

async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8')
  } catch (error) {
    if (isSystemError(error, 'ENOENT', 'EOPNOTSUPP')) return undefined
    throw error
  }
}
