import { UnavailableError } from '../../shared/errors.ts'

export interface ReaderLimits {
  readonly concurrency: number
  readonly perUser: number
}

/** A client that has its last byte may ask for the next file before we know that it has it. */
const PATIENCE_MS = 500

/** How many may read content at once: all together, and each user. Addresses say nothing behind a port-forward. */
export class ReaderLimit {
  readonly #limits: ReaderLimits
  readonly #byUser = new Map<string, number>()
  readonly #waiting = new Set<() => void>()
  #total = 0

  constructor(limits: ReaderLimits) {
    this.#limits = limits
  }

  /** Gives what gives the place back; to be called once. Throws UnavailableError (`TooManyDownloads`). */
  async enter(user: string): Promise<() => void> {
    const deadline = performance.now() + PATIENCE_MS
    for (;;) {
      const refusal = this.#findRefusal(user)
      if (refusal === undefined) return this.#take(user)
      const rest = deadline - performance.now()
      if (rest <= 0) throw refusal
      await this.#placeGivenBack(rest)
    }
  }

  #findRefusal(user: string): UnavailableError | undefined {
    const own = this.#byUser.get(user) ?? 0
    if (own >= this.#limits.perUser) return tooMany(`"${user}" reads ${own} at once already`, 'content.perUser')
    if (this.#total < this.#limits.concurrency) return undefined
    return tooMany(`${this.#total} are being read at once`, 'content.concurrency')
  }

  #take(user: string): () => void {
    this.#total += 1
    this.#byUser.set(user, (this.#byUser.get(user) ?? 0) + 1)
    return () => {
      this.#total -= 1
      const left = (this.#byUser.get(user) ?? 1) - 1
      if (left === 0) this.#byUser.delete(user)
      else this.#byUser.set(user, left)
      for (const wake of this.#waiting) wake()
    }
  }

  #placeGivenBack(withinMs: number): Promise<void> {
    return new Promise((resolve) => {
      const wake = () => {
        clearTimeout(timer)
        this.#waiting.delete(wake)
        resolve()
      }
      const timer = setTimeout(wake, withinMs)
      this.#waiting.add(wake)
    })
  }
}

function tooMany(why: string, setting: string): UnavailableError {
  return new UnavailableError(`Cannot hand out content now: ${why}`, {
    code: 'TooManyDownloads',
    hint: `Ask again when one has ended, or raise ${setting}.`,
  })
}
