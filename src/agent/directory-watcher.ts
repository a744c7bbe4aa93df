import { watch, type FSWatcher } from 'chokidar'
import { errorText } from '../shared/errors.ts'
import type { Logger } from '../shared/logger.ts'

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
  #trouble: string | undefined

  constructor(options: DirectoryWatcherOptions) {
    this.#options = options
    this.#open()
  }

  /** Why events do not come at the moment. */
  get trouble(): string | undefined {
    return this.#trouble
  }

  /** Tries again after a failure; to be called now and then. */
  retry(): void {
    if (this.#trouble === undefined) return
    void this.#watcher?.close()
    this.#open()
  }

  async close(): Promise<void> {
    await this.#watcher?.close()
  }

  #open(): void {
    const { directory, onChange, logger } = this.#options
    this.#trouble = undefined
    // Files are ignored, so that none of them gets a watch of its own: the folder's raw events name them.
    const watcher = watch(directory, { depth: 0, ignoreInitial: true, ignored: (path) => path !== directory })
    watcher.on('raw', (_event: string, path: string | null) => {
      onChange(path === null || path.includes('\ufffd') ? undefined : path)
    })
    // What happened before the watch stood was told to nobody.
    watcher.on('ready', () => {
      onChange(undefined)
    })
    watcher.on('error', (error: unknown) => {
      this.#trouble = errorText(error)
      logger.warn(
        { directory, error: this.#trouble },
        'Cannot watch the checkpoint directory; it is still read through now and then',
      )
    })
    this.#watcher = watcher
  }
}
