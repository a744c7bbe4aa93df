import { setTimeout as sleep } from 'node:timers/promises'

/** Some milliseconds are the rule. */
const PATIENCE_MS = 1_000

/** Our own archives are read right after the answer to their capture; who asks for the list meanwhile waits for them. */
export class PendingRefreshes {
  readonly #looks = new Set<Promise<void>>()

  add(look: Promise<void>): void {
    this.#looks.add(look)
    void look.finally(() => this.#looks.delete(look))
  }

  /** Resolves when those that were begun have ended, or took too long. */
  async ended(): Promise<void> {
    if (this.#looks.size === 0) return
    const patience = new AbortController()
    const enough = sleep(PATIENCE_MS, undefined, { signal: patience.signal, ref: false }).catch(() => undefined)
    await Promise.race([Promise.all(this.#looks), enough])
    patience.abort()
  }
}
