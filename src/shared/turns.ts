/** Runs tasks with the same key one at a time, in the order of the calls. */
export class Turns {
  readonly #last = new Map<string, Promise<void>>()

  async run<Result>(key: string, work: () => Promise<Result>): Promise<Result> {
    const before = this.#last.get(key)
    const turn = Promise.withResolvers<void>()
    this.#last.set(key, turn.promise)
    await before
    try {
      return await work()
    } finally {
      turn.resolve()
      if (this.#last.get(key) === turn.promise) this.#last.delete(key)
    }
  }
}
