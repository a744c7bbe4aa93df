import { setImmediate as nextTurn } from 'node:timers/promises'
import { errorText } from '../../shared/errors.ts'
import { PollLoop } from '../../shared/poll-loop.ts'
import type { Logger } from '../../shared/logger.ts'
import type { GonePodStore } from '../../store/gone-pod-store.ts'

export interface OrphanWatchOptions {
  readonly store: GonePodStore
  /**
   * Returns the UIDs of all pods known to the runtime, including ended ones. Rejects if the runtime does not answer.
   */
  readonly listPodUids: () => Promise<ReadonlySet<string>>
  readonly logger: Logger
  readonly intervalMs?: number
  /** Returns milliseconds on a monotonic clock. */
  readonly elapsed?: () => number
}

const INTERVAL_MS = 60_000
/** Pods processed before the event loop gets its turn. */
const SLICE = 1_000

/**
 * Measures how long the pods of archives have been gone. Only the time between two answers of the runtime counts, since
 * the pods are unknown while the runtime or the agent is down.
 */
export class OrphanWatch {
  readonly #options: OrphanWatchOptions
  readonly #intervalMs: number
  readonly #elapsed: () => number
  readonly #loop: PollLoop
  #answeredAt: number | undefined

  constructor(options: OrphanWatchOptions) {
    this.#options = options
    this.#intervalMs = options.intervalMs ?? INTERVAL_MS
    this.#elapsed = options.elapsed ?? (() => performance.now())
    this.#loop = new PollLoop({
      poll: () =>
        this.look().catch((error: unknown) => {
          options.logger.error({ error: errorText(error) }, 'Cannot keep count of pods that are gone')
        }),
      intervalMs: this.#intervalMs,
    })
  }

  start(): void {
    this.#loop.start()
  }

  async stop(): Promise<void> {
    await this.#loop.stop()
  }

  async look(): Promise<void> {
    const { store, listPodUids, logger } = this.#options
    let there: ReadonlySet<string>
    try {
      there = await listPodUids()
    } catch (error) {
      this.#answeredAt = undefined
      logger.debug({ error: errorText(error) }, 'Cannot tell which pods are gone: the runtime does not answer')
      return
    }
    const now = this.#elapsed()
    // Limits the time after a suspend of the machine, during which nothing was observed.
    const passed = this.#answeredAt === undefined ? 0 : Math.min(now - this.#answeredAt, 2 * this.#intervalMs)
    this.#answeredAt = now
    store.advance(there, passed)
    let after: number | undefined = 0
    while (after !== undefined && !this.#loop.signal.aborted) {
      after = store.addGone(there, { after, count: SLICE })
      await nextTurn()
    }
  }
}
