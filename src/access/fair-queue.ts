import { ApiServerError } from './api-server-error.ts'

export interface FairQueueOptions {
  /** Concurrent tasks, in total and per key. */
  readonly atOnce: number
  readonly perKey: number
  readonly maxWaiting: number
  readonly maxWaitMs?: number
}

interface Waiting {
  readonly begin: () => void
  readonly refuse: () => void
}

/** Longest time in the queue; callers do not benefit from a later response. */
const MAX_WAIT_MS = 5_000

/**
 * Queues requests to the API server in round-robin order over their keys, so that a caller with
 * many requests delays only itself.
 */
export class FairQueue<Key> {
  readonly #options: FairQueueOptions
  readonly #running = new Map<Key, number>()
  /** Waiting tasks by key; the first key is next. */
  readonly #lanes = new Map<Key, Waiting[]>()
  #runningCount = 0
  #waitingCount = 0

  constructor(options: FairQueueOptions) {
    this.#options = options
  }

  get waitingCount(): number {
    return this.#waitingCount
  }

  /** Runs the task in its turn. Throws ApiServerError if the queue is full or the wait too long. */
  async run<Result>(key: Key, work: () => Promise<Result>): Promise<Result> {
    if (this.#mayBegin(key)) this.#count(key, 1)
    else await this.#wait(key)
    try {
      return await work()
    } finally {
      this.#count(key, -1)
      this.#beginNext()
    }
  }

  #count(key: Key, change: 1 | -1): void {
    this.#runningCount += change
    const running = this.#runningOf(key) + change
    if (running === 0) this.#running.delete(key)
    else this.#running.set(key, running)
  }

  #runningOf(key: Key): number {
    return this.#running.get(key) ?? 0
  }

  #mayBegin(key: Key): boolean {
    const { atOnce, perKey } = this.#options
    return this.#runningCount < atOnce && this.#runningOf(key) < perKey
  }

  #wait(key: Key): Promise<void> {
    const { maxWaiting, maxWaitMs = MAX_WAIT_MS } = this.#options
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => this.#remove(key, waiting)?.refuse(), maxWaitMs)
      const waiting: Waiting = {
        begin: () => {
          clearTimeout(timer)
          resolve()
        },
        refuse: () => {
          clearTimeout(timer)
          reject(new ApiServerError('too many others wait for the API server already'))
        },
      }
      this.#lanes.set(key, [...(this.#lanes.get(key) ?? []), waiting])
      this.#waitingCount += 1
      if (this.#waitingCount > maxWaiting) this.#refuseOne()
    })
  }

  /** Refuses the newest task of the key with the most waiting tasks. */
  #refuseOne(): void {
    const [longest] = [...this.#lanes].toSorted(([, one], [, other]) => other.length - one.length)
    const last = longest?.[1].at(-1)
    if (longest !== undefined && last !== undefined) this.#remove(longest[0], last)?.refuse()
  }

  #remove(key: Key, waiting: Waiting): Waiting | undefined {
    const lane = this.#lanes.get(key)
    if (lane?.includes(waiting) !== true) return undefined
    const rest = lane.filter((other) => other !== waiting)
    if (rest.length === 0) this.#lanes.delete(key)
    else this.#lanes.set(key, rest)
    this.#waitingCount -= 1
    return waiting
  }

  #beginNext(): void {
    const next = [...this.#lanes].find(([key]) => this.#mayBegin(key))
    if (next === undefined) return
    const [key, [first]] = next
    if (first === undefined) return
    this.#remove(key, first)
    const rest = this.#lanes.get(key)
    if (rest !== undefined) {
      this.#lanes.delete(key)
      this.#lanes.set(key, rest)
    }
    // Counted now, because the task resumes only in a later turn of the event loop.
    this.#count(key, 1)
    first.begin()
  }
}
