/** A whole archive that has no digest yet. */
export interface UnhashedFile {
  readonly id: string
  readonly generation: string
  /** Its bytes as latin1 text: thousands of buffers would leave holes in the memory behind. */
  readonly name: string
}

/** So many are handed over at once: the thread never waits, and those that are left take little memory. */
const HANDED_OVER = 16

/** Archives that wait until their digest is due, and then until the thread has time for them. */
export class HashBacklog {
  readonly #hash: (file: UnhashedFile) => Promise<void>
  readonly #waiting: UnhashedFile[] = []
  /** How many of those that wait may go. */
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

  /** Those that are there now are due. */
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
