/** A whole archive that has no digest yet. */
export interface UnhashedFile {
  readonly id: string
  readonly generation: string
  /** Name as latin1 text. Thousands of buffers would fragment the memory. */
  readonly name: string
}

/** Maximum number of files handed over at once. The thread never waits, and the rest takes little memory. */
const HANDED_OVER = 16

/** Holds archives until their hashing is due and the thread has time for them. */
export class HashBacklog {
  readonly #hash: (file: UnhashedFile) => Promise<void>
  readonly #waiting: UnhashedFile[] = []
  /** Number of waiting files that may be handed over. */
  #due = 0
  #handedOver = 0

  constructor(hash: (file: UnhashedFile) => Promise<void>) {
    this.#hash = hash
  }

  get length(): number {
    return this.#waiting.length
  }

  add(file: UnhashedFile): void {
    this.#waiting.push(file)
  }

  /** Makes all files that wait now due. */
  release(): void {
    this.#due = this.#waiting.length
    this.#handOver()
  }

  #handOver(): void {
    const files = this.#waiting.splice(0, Math.min(this.#due, HANDED_OVER - this.#handedOver))
    this.#due -= files.length
    this.#handedOver += files.length
    for (const file of files) {
      void this.#hash(file).finally(() => {
        this.#handedOver -= 1
        this.#handOver()
      })
    }
  }
}
