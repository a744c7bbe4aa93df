import { setTimeout as sleep } from 'node:timers/promises'

export interface PollLoopOptions {
  /** Handles its own errors: one that escapes ends the loop and rejects `stop()`. */
  readonly poll: () => unknown
  /**
   * Time between the end of one call and the start of the next. A function is evaluated after each
   * call.
   */
  readonly intervalMs: number | (() => number)
}

/**
 * Calls `poll` from `start()` until `stop()`, one call at a time. Does not keep the process alive.
 */
export class PollLoop {
  readonly #options: PollLoopOptions
  readonly #stop = new AbortController()
  #running: Promise<void> | undefined

  constructor(options: PollLoopOptions) {
    this.#options = options
  }

  /** Aborts when the loop stops, for calls that take long. */
  get signal(): AbortSignal {
    return this.#stop.signal
  }

  start(): void {
    this.#running ??= this.#run()
  }

  /** Stops the loop and waits for the current call. */
  async stop(): Promise<void> {
    this.#stop.abort()
    await this.#running
  }

  async #run(): Promise<void> {
    const { poll, intervalMs } = this.#options
    const { signal } = this.#stop
    while (!signal.aborted) {
      await poll()
      const waitMs = typeof intervalMs === 'number' ? intervalMs : intervalMs()
      await sleep(waitMs, undefined, { signal, ref: false }).catch(() => undefined)
    }
  }
}
