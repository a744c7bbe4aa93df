import { lstatSync } from 'node:fs'
import { basename } from 'node:path'
import { watch, type FSWatcher } from 'chokidar'
import { errorText } from '../../shared/errors.ts'
import type { Logger } from '../../shared/logger.ts'

export interface DirectoryWatcherOptions {
  readonly directory: string
  /**
   * Called with a changed name, or with undefined for a name that is not UTF-8. In that case all files must be checked.
   */
  readonly onChange: (name: string | undefined) => void
  readonly logger: Logger
}

/**
 * Reports changes in the directory with one watch for all files. Events may be lost, and a node can run out of watches,
 * so the rescan must find every change too.
 */
export class DirectoryWatcher {
  readonly #options: DirectoryWatcherOptions
  #watcher: FSWatcher | undefined
  /** Identity of the watched directory. A directory that is removed and created again needs a new watch. */
  #folder: string | undefined
  #error: string | undefined

  constructor(options: DirectoryWatcherOptions) {
    this.#options = options
    this.#open()
  }

  /** Reason why events are not delivered now. */
  get error(): string | undefined {
    return this.#error
  }

  /** Opens the watch again after a failure or if the directory was replaced. Call it at intervals. */
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
    // Files are ignored so that none gets its own watch. The directory's raw events contain their names.
    const watcher = watch(directory, { depth: 0, ignoreInitial: true, ignored: (path) => path !== directory })
    watcher.on('raw', (_event: string, path: string | null) => {
      if (this.#watcher !== watcher) return
      // An event with the name of the directory itself usually means that it was moved or removed.
      if (path === basename(directory)) this.retry()
      onChange(path === null || path === basename(directory) || path.includes('\ufffd') ? undefined : path)
    })
    // Changes before the watch was ready were not reported.
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

/**
 * Returns the identity of the directory. It includes the creation time, because inode numbers are soon reused and a
 * file system mounted over the directory may have the same number.
 */
function folderAt(directory: string): string | undefined {
  const stat = lstatSync(directory, { bigint: true, throwIfNoEntry: false })
  return stat && `${stat.dev}:${stat.ino}:${stat.birthtimeNs}`
}
