import { lstat, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { errorText, isSystemError } from '../../shared/errors.ts'
import type { Clock } from '../../shared/clock.ts'
import { PollLoop } from '../../shared/poll-loop.ts'
import type { Logger } from '../../shared/logger.ts'

/** Memory images that CRI-O left in the directory of a container when it could not export them. */
export interface LeftoverImages {
  readonly containerId: string
  readonly path: string
  readonly sizeBytes: number
  /** Modification time of the newest image. */
  readonly modifiedAt: Date
}

export interface LeftoverImageWatchOptions {
  /** Directory of CRI-O's containers: `/var/lib/containers/storage/overlay-containers`. */
  readonly directory: string
  /** Returns whether the container is being dumped now, as far as this agent knows. */
  readonly isBusy: (containerId: string) => boolean
  readonly clock: Clock
  readonly logger: Logger
  readonly intervalMs?: number
}

const INTERVAL_MS = 60_000
/** Minimum age. Newer images may belong to a dump by another client. */
const SETTLED_MS = 60_000
/** Maximum number of files that are read. CRIU writes a few dozen, so a directory with more is not from CRIU. */
const MAX_FILES = 10_000

/**
 * Finds memory images that failed checkpoints left on the disk of the node. No inventory lists them, and they stay
 * until the next checkpoint of the container or its removal. The agent reads only names and sizes, and removes nothing
 * here.
 */
export class LeftoverImageWatch {
  readonly #options: LeftoverImageWatchOptions
  readonly #loop: PollLoop
  /** Containers whose dump has ended. Their images are leftovers whatever their age. */
  readonly #answered = new Set<string>()
  #found: readonly LeftoverImages[] | undefined

  constructor(options: LeftoverImageWatchOptions) {
    this.#options = options
    const { intervalMs = INTERVAL_MS, logger } = options
    this.#loop = new PollLoop({
      poll: () =>
        this.refresh().catch((error: unknown) => {
          logger.debug({ error: errorText(error) }, 'Cannot look for memory images that failed checkpoints left')
        }),
      intervalMs,
    })
  }

  /**
   * Leftover images of the last refresh. Undefined if the directory cannot be read, as on containerd or if it is not
   * mounted.
   */
  get found(): readonly LeftoverImages[] | undefined {
    return this.#found
  }

  start(): void {
    this.#loop.start()
  }

  async stop(): Promise<void> {
    await this.#loop.stop()
  }

  async refresh(): Promise<void> {
    const { directory, isBusy, clock, logger } = this.#options
    const known = new Set(this.#found?.map(({ path }) => path))
    const ids = await listIds(directory)
    if (ids === undefined) {
      this.#found = undefined
      return
    }
    const found: LeftoverImages[] = []
    for (const id of ids) {
      const images = await this.#read(id)
      const isSettled = images !== undefined && clock.now().getTime() - images.modifiedAt.getTime() >= SETTLED_MS
      if (images === undefined || isBusy(id) || !(isSettled || this.#answered.has(id))) continue
      found.push(images)
      if (known.has(images.path)) continue
      const { path, sizeBytes } = images
      logger.warn(
        { containerId: id, path, sizeBytes, hint: removalHint(images) },
        'A failed checkpoint left memory images',
      )
    }
    for (const id of this.#answered) if (!ids.includes(id)) this.#answered.delete(id)
    this.#found = found
  }

  /** Finds the images of one container right after the runtime has reported that its checkpoint failed. */
  async findAfterFailure(containerId: string): Promise<LeftoverImages | undefined> {
    const images = await this.#read(containerId).catch(() => undefined)
    if (images === undefined) return undefined
    this.#answered.add(containerId)
    return images
  }

  async #read(containerId: string): Promise<LeftoverImages | undefined> {
    const path = join(this.#options.directory, containerId, 'userdata', 'checkpoint')
    const stat = await lstat(path).catch(undefinedIfMissing)
    if (stat?.isDirectory() !== true) return undefined
    let sizeBytes = 0
    let modifiedAt = stat.mtime
    for (const name of (await readdir(path)).slice(0, MAX_FILES)) {
      const file = await lstat(join(path, name)).catch(undefinedIfMissing)
      if (file?.isFile() !== true) continue
      sizeBytes += file.size
      if (file.mtime > modifiedAt) modifiedAt = file.mtime
    }
    return { containerId, path, sizeBytes, modifiedAt }
  }
}

/** Returns the hint for removing the images. They are also removed with the container. */
export function removalHint({ path, sizeBytes }: LeftoverImages): string {
  return `The failed checkpoint left ${sizeBytes} bytes of the container's memory in ${path} on the node. The next checkpoint of the container or its removal takes them away; as root on the node: rm -r ${path}`
}

async function listIds(directory: string): Promise<readonly string[] | undefined> {
  try {
    return (await readdir(directory)).filter((name) => /^[0-9a-f]{64}$/.test(name))
  } catch (error) {
    if (isSystemError(error, 'ENOENT', 'ENOTDIR', 'EACCES', 'EPERM')) return undefined
    throw error
  }
}

function undefinedIfMissing(error: unknown): undefined {
  if (isSystemError(error, 'ENOENT', 'ENOTDIR')) return undefined
  throw error
}
