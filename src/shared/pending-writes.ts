/**
 * Writes under way, each with a callback. A stream that is destroyed does not call back for all of them: then the rest
 * is failed from here, so that nobody waits for ever.
 */
export class PendingWrites {
  readonly #rejects = new Set<(error: unknown) => void>()
  #failure: { readonly error: unknown } | undefined

  /** Resolves or rejects with the callback that `begin` is given. */
  add(begin: (done: (error?: Error | null) => void) => void): Promise<void> {
    if (this.#failure !== undefined) return Promise.reject(asError(this.#failure.error))
    return new Promise<void>((resolve, reject) => {
      this.#rejects.add(reject)
      begin((error) => {
        this.#rejects.delete(reject)
        if (error === undefined || error === null) resolve()
        else reject(error)
      })
    })
  }

  /** Rejects what is under way and what comes later. */
  fail(error: unknown): void {
    this.#failure ??= { error }
    for (const reject of this.#rejects) reject(error)
    this.#rejects.clear()
  }
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error))
}
