import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, statfsSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** A file system of its own on a loop device. */
export class SmallDisk implements Disposable {
  readonly root = mkdtempSync(join(tmpdir(), 'small-disk-'))
  readonly path = join(this.root, 'disk')
  #mounts = 0

  constructor(sizeMiB: number) {
    const image = join(this.root, 'image')
    writeFileSync(image, '')
    truncateSync(image, sizeMiB * 1024 * 1024)
    mkdirSync(this.path)
    run('mkfs.ext4', '-q', '-m', '0', image)
    this.#mount('-o', 'loop', image, this.path)
  }

  /** What a user may still write. */
  get freeBytes(): number {
    const { bavail, bsize } = statfsSync(this.path)
    return bavail * bsize
  }

  /** From now on everything in this folder is read-only to all who go there by its path. */
  makeReadOnly(folder: string): () => void {
    this.#mount('--bind', folder, folder)
    run('mount', '-o', 'remount,bind,ro', folder)
    return () => {
      run('umount', folder)
      this.#mounts -= 1
    }
  }

  [Symbol.dispose](): void {
    for (; this.#mounts > 0; this.#mounts -= 1) run('umount', '-R', this.path)
    rmSync(this.root, { recursive: true })
  }

  #mount(...args: readonly string[]): void {
    run('mount', ...args)
    this.#mounts += 1
  }
}

function run(command: string, ...args: readonly string[]): void {
  const { status, stderr, error } = spawnSync(command, args, { encoding: 'utf8' })
  if (status !== 0) throw new Error(`Cannot ${command} ${args.join(' ')}: ${error?.message ?? stderr}`)
}
