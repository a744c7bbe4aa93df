import { closeSync, constants, existsSync, fsync, fsyncSync, openSync } from 'node:fs'
import { promisify } from 'node:util'

const flush = promisify(fsync)

/** A directory held open: what is done in it happens in that one, whatever its path leads to by then. */
export interface OpenDirectory extends Disposable {
  /** The path of a name in it; a name need not be UTF-8. */
  readonly pathOf: (rawName: Uint8Array) => Buffer
  /** Returns once the names in it are on the disk. */
  readonly sync: () => void
  /** The same without holding up others meanwhile. */
  readonly flush: () => Promise<void>
}

export function openDirectory(path: string): OpenDirectory {
  const descriptor = openSync(path, constants.O_RDONLY | constants.O_DIRECTORY)
  // Node has no unlinkat; on Linux the open directory has a path of its own. Elsewhere is for development only.
  const own = `/proc/self/fd/${descriptor}`
  const base = Buffer.from(existsSync(own) ? `${own}/` : `${path}/`)
  return {
    pathOf: (rawName) => Buffer.concat([base, rawName]),
    sync: () => {
      fsyncSync(descriptor)
    },
    flush: () => flush(descriptor),
    [Symbol.dispose]: () => {
      closeSync(descriptor)
    },
  }
}
