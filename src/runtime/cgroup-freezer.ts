import { readFile, writeFile } from 'node:fs/promises'
import { existsSync } from 'node:fs'
import { join } from 'node:path'

/** The raw switch of one container's cgroup. Beneath containerd's task API it is the last resort: see `freeze-control.ts`. */
export interface CgroupFreezer {
  isFrozen(): Promise<boolean>
  freeze(): Promise<void>
  thaw(): Promise<void>
}

/**
 * The freezer of the container whose runtime spec names this cgroup, in version 1, version 2 or mixed trees.
 * Undefined where the tree is not mounted here or holds no such cgroup.
 */
export function findFreezer(cgroupRoot: string, cgroupsPath: string): CgroupFreezer | undefined {
  const path = toCgroupPath(cgroupsPath)
  if (path === undefined) return undefined
  const version1 = join(cgroupRoot, 'freezer', path, 'freezer.state')
  if (existsSync(version1)) return new FreezerV1(version1)
  const version2 = [join(cgroupRoot, path), join(cgroupRoot, 'unified', path)].find((folder) =>
    existsSync(join(folder, 'cgroup.freeze')),
  )
  return version2 === undefined ? undefined : new FreezerV2(version2)
}

/** `slice:prefix:id` (systemd) or a plain path (cgroupfs), as a path under the root of a hierarchy. */
export function toCgroupPath(cgroupsPath: string): string | undefined {
  const [slice = '', prefix = '', id] = cgroupsPath.split(':')
  const path = id === undefined ? cgroupsPath : `${expandSlice(slice)}${prefix === '' ? id : `${prefix}-${id}`}.scope`
  const isInside = path !== '' && !path.split('/').includes('..') && !path.includes('\0')
  return isInside ? path : undefined
}

/** systemd nests slices by their dashes: `a-b.slice` lives in `a.slice`, and `-.slice` is the root of all. */
function expandSlice(slice: string): string {
  if (slice === '-.slice') return ''
  const words = (slice === '' ? 'system' : slice.replace(/\.slice$/, '')).split('-')
  return words.map((_, index) => `${words.slice(0, index + 1).join('-')}.slice/`).join('')
}

class FreezerV1 implements CgroupFreezer {
  readonly #stateFile: string

  constructor(stateFile: string) {
    this.#stateFile = stateFile
  }

  async isFrozen(): Promise<boolean> {
    return (await readFile(this.#stateFile, 'utf8')).trim() !== 'THAWED'
  }

  async freeze(): Promise<void> {
    await writeFile(this.#stateFile, 'FROZEN')
  }

  async thaw(): Promise<void> {
    await writeFile(this.#stateFile, 'THAWED')
  }
}

class FreezerV2 implements CgroupFreezer {
  readonly #folder: string

  constructor(folder: string) {
    this.#folder = folder
  }

  async isFrozen(): Promise<boolean> {
    return (await readFile(join(this.#folder, 'cgroup.freeze'), 'utf8')).trim() === '1'
  }

  async freeze(): Promise<void> {
    await writeFile(join(this.#folder, 'cgroup.freeze'), '1')
  }

  async thaw(): Promise<void> {
    await writeFile(join(this.#folder, 'cgroup.freeze'), '0')
  }
}
