import { setTimeout as sleep } from 'node:timers/promises'

/** Longest wait. Refreshes usually take a few milliseconds. */
const PATIENCE_MS = 1_000

/**
 * Tracks the refreshes of the agent's own archives, which begin right after the end of a capture. Requests for the list
 * wait for them.
 */
export class PendingRefreshes {
  readonly #looks = new Set<Promise<void>>()

  add(look: Promise<void>): void {
    this.#looks.add(look)
    void look.finally(() => this.#looks.delete(look))
  }

  /** Resolves once all refreshes that have begun are over or take too long. */
  async ended(): Promise<void> {
    if (this.#looks.size === 0) return
    const patience = new AbortController()
    const enough = sleep(PATIENCE_MS, undefined, { signal: patience.signal, ref: false }).catch(() => undefined)
    await Promise.race([Promise.all(this.#looks), enough])
    patience.abort()
  }
}
