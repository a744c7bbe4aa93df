import { setTimeout as sleep } from 'node:timers/promises'

export interface PollLoopOptions {
  /** Handles its own errors: one that escapes ends the loop and rejects `stop()`. */
  readonly poll: () => unknown
  /** Time between the end of one call and the start of the next; a function is asked after each call. */
  readonly intervalMs: number | (() => number)
}

/** Calls `poll` from `start()` until `stop()`, one call at a time. Does not keep the process alive. */
export class PollLoop {
  readonly #options: PollLoopOptions
  readonly #stop = new AbortController()
  #running: Promise<void> | undefined

  constructor(options: PollLoopOptions) {
    this.#options = options
  }

  /** Aborts when the loop is stopped, for a call that takes long. */
  get signal(): AbortSignal {
    return this.#stop.signal
  }

  start(): void {
    this.#running ??= this.#run()
  }

  /** Resolves when the call under way has ended. */
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
