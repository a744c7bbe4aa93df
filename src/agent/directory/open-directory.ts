import { closeSync, constants, existsSync, fsync, fsyncSync, openSync } from 'node:fs'
import { promisify } from 'node:util'

const flush = promisify(fsync)

/** A directory that is held open. Operations use this directory even if its path later leads elsewhere. */
export interface OpenDirectory extends Disposable {
  /** Returns the path of a name in the directory. The name need not be UTF-8. */
  readonly pathOf: (rawName: Uint8Array) => Buffer
  /** Returns once the names in the directory are on disk. */
  readonly sync: () => void
  /** Works like `sync` without blocking the event loop. */
  readonly flush: () => Promise<void>
}

export function openDirectory(path: string): OpenDirectory {
  const descriptor = openSync(path, constants.O_RDONLY | constants.O_DIRECTORY)
  // Node.js has no unlinkat, but on Linux the open directory has a path of its own. Other systems are for development
  // only.
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
