import { lstatSync } from 'node:fs'
import { basename } from 'node:path'
import { watch, type FSWatcher } from 'chokidar'
import { errorText } from '../../shared/errors.ts'
import type { Logger } from '../../shared/logger.ts'

export interface DirectoryWatcherOptions {
  readonly directory: string
  /** Something happened to this name. A name that is not UTF-8 comes as undefined: look at all of them. */
  readonly onChange: (name: string | undefined) => void
  readonly logger: Logger
}

/**
 * Tells what changes in the folder, as far as the kernel tells it: one watch for the folder, not one for each file.
 * Nothing may rely on it alone: events get lost, and a node can run out of watches. The rescan is the truth behind it.
 */
export class DirectoryWatcher {
  readonly #options: DirectoryWatcherOptions
  #watcher: FSWatcher | undefined
  /** A watch belongs to a folder, not to its path: one that was removed and made again is another one. */
  #folder: string | undefined
  #error: string | undefined

  constructor(options: DirectoryWatcherOptions) {
    this.#options = options
    this.#open()
  }

  /** Why events do not come at the moment. */
  get error(): string | undefined {
    return this.#error
  }

  /** Tries again after a failure, and after the folder became another one; to be called now and then. */
  retry(): void {
    if (this.#error === undefined && this.#folder === folderAt(this.#options.directory)) return
    void this.#watcher?.close()
    this.#open()
  }

  async close(): Promise<void> {
    await this.#watcher?.close()
  }

  #open(): void {
    const { directory, onChange, logger } = this.#options
    this.#folder = folderAt(directory)
    this.#error = undefined
    if (this.#folder === undefined) {
      this.#fail('it is not there')
      return
    }
    // Files are ignored, so that none of them gets a watch of its own: the folder's raw events name them.
    const watcher = watch(directory, { depth: 0, ignoreInitial: true, ignored: (path) => path !== directory })
    watcher.on('raw', (_event: string, path: string | null) => {
      if (this.#watcher !== watcher) return
      // The name of the folder itself: it was moved or removed, most likely.
      if (path === basename(directory)) this.retry()
      onChange(path === null || path === basename(directory) || path.includes('\ufffd') ? undefined : path)
    })
    // What happened before the watch stood was told to nobody.
    watcher.on('ready', () => {
      onChange(undefined)
    })
    watcher.on('error', (error: unknown) => {
      if (this.#watcher === watcher) this.#fail(errorText(error))
    })
    this.#watcher = watcher
    logger.debug({ directory }, 'Watching the checkpoint directory')
  }

  #fail(why: string): void {
    this.#error = why
    this.#options.logger.warn(
      { directory: this.#options.directory, error: why },
      'Cannot watch the checkpoint directory; it is still read through now and then',
    )
  }
}

/** Which one it is. The number of an inode is soon used again, and a file system mounted over it has the same numbers. */
function folderAt(directory: string): string | undefined {
  const stat = lstatSync(directory, { bigint: true, throwIfNoEntry: false })
  return stat && `${stat.dev}:${stat.ino}:${stat.birthtimeNs}`
}
