/** Grants a fixed number of permits. Waiting callers get them in order. */
export class Permits {
  readonly #onTaken: () => void
  #free: number
  readonly #waiting: (() => void)[] = []

  constructor(count: number, onTaken: () => void) {
    this.#onTaken = onTaken
    this.#free = count
  }

  /** Resolves with a function that returns the permit and must be called once. Throws the signal's reason. */
  async take(signal?: AbortSignal): Promise<() => void> {
    signal?.throwIfAborted()
    if (this.#free > 0) this.#free -= 1
    else await this.#wait(signal)
    this.#onTaken()
    return () => {
      const next = this.#waiting.shift()
      if (next === undefined) this.#free += 1
      else next()
    }
  }

  async #wait(signal: AbortSignal | undefined): Promise<void> {
    const turn = Promise.withResolvers<void>()
    const leave = () => {
      const index = this.#waiting.indexOf(turn.resolve)
      if (index < 0) return
      this.#waiting.splice(index, 1)
      turn.reject(signal?.reason)
    }
    this.#waiting.push(turn.resolve)
    signal?.addEventListener('abort', leave)
    try {
      await turn.promise
    } finally {
      signal?.removeEventListener('abort', leave)
    }
  }
}
