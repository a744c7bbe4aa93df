/**
 * Tracks writes that complete through a callback. A destroyed stream does not call back for all of
 * them; `fail` rejects the others, so that no caller waits forever.
 */
export class PendingWrites {
  readonly #rejects = new Set<(error: unknown) => void>()
  #failure: { readonly error: unknown } | undefined

  /** Starts a write that settles through the callback passed to `begin`. */
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

  /** Rejects all pending and all future writes. */
  fail(error: unknown): void {
    this.#failure ??= { error }
    for (const reject of this.#rejects) reject(error)
    this.#rejects.clear()
  }
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error))
}
