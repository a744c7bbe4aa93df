import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

/** A folder that looks like the host's cgroup tree, as far as freezing goes. */
export interface FreezerTree {
  /** What stands for `/sys/fs/cgroup`. */
  readonly root: string
  readonly version: 'v1' | 'v2'
  /** crun with the systemd manager: the processes, and their freeze, are in a child of this name. */
  readonly subgroup?: string
}

/** The freezer files of one container. The kernel's part is played by `poll`: what somebody writes takes effect there. */
export class FreezerCgroup {
  /** Where the processes are. */
  readonly #folder: string
  /** What the runtime's spec names. */
  readonly #scope: string
  readonly #version: FreezerTree['version']

  constructor(tree: FreezerTree, cgroupsPath: string) {
    const path = cgroupFolder(cgroupsPath)
    this.#scope = tree.version === 'v1' ? join(tree.root, 'freezer', path) : join(tree.root, path)
    this.#folder = join(this.#scope, tree.subgroup ?? '')
    this.#version = tree.version
    mkdirSync(this.#folder, { recursive: true })
    if (this.#folder !== this.#scope) {
      this.#writeInto(this.#scope, false)
      writeFileSync(join(this.#scope, 'cgroup.procs'), '')
    }
    writeFileSync(join(this.#folder, 'cgroup.procs'), '0\n')
    this.write(false)
  }

  /** The one that freezes. */
  get folder(): string {
    return this.#folder
  }

  write(isFrozen: boolean): void {
    this.#writeInto(this.#folder, isFrozen)
  }

  /** What the control file says now; undefined while somebody is in the middle of writing it. */
  poll(): boolean | undefined {
    if (this.#version === 'v1') {
      const state = readFileSync(join(this.#folder, 'freezer.state'), 'latin1').trim()
      return state === 'FROZEN' ? true : state === 'THAWED' ? false : undefined
    }
    const control = readFileSync(join(this.#folder, 'cgroup.freeze'), 'latin1').trim()
    const isFrozen = control === '1' ? true : control === '0' ? false : undefined
    if (isFrozen !== undefined && !this.#eventsSay(isFrozen)) this.#writeEvents(isFrozen)
    return isFrozen
  }

  remove(): void {
    rmSync(this.#scope, { recursive: true, force: true })
  }

  #writeInto(folder: string, isFrozen: boolean): void {
    if (this.#version === 'v1') {
      writeFileSync(join(folder, 'freezer.state'), isFrozen ? 'FROZEN\n' : 'THAWED\n')
      return
    }
    writeFileSync(join(folder, 'cgroup.freeze'), isFrozen ? '1\n' : '0\n')
    this.#writeEvents(isFrozen, folder)
  }

  #eventsSay(isFrozen: boolean): boolean {
    return readFileSync(join(this.#folder, 'cgroup.events'), 'latin1').includes(isFrozen ? 'frozen 1' : 'frozen 0')
  }

  #writeEvents(isFrozen: boolean, folder = this.#folder): void {
    writeFileSync(join(folder, 'cgroup.events'), `populated 1\nfrozen ${isFrozen ? 1 : 0}\n`)
  }
}

/** `a-b.slice:prefix:id` names nested slices (systemd); anything else is a path. */
function cgroupFolder(cgroupsPath: string): string {
  const [slice = '', prefix, id] = cgroupsPath.split(':')
  if (prefix === undefined || id === undefined) return cgroupsPath
  const parts = slice.replace(/\.slice$/, '').split('-')
  const slices = parts.map((_, index) => `${parts.slice(0, index + 1).join('-')}.slice`)
  return join(...slices, `${prefix}-${id}.scope`)
}
