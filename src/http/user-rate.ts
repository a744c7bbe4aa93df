export interface UserRateOptions {
  readonly perMinute: number
  /** Milliseconds that only ever grow. */
  readonly now?: () => number
  readonly maxUsers?: number
}

const MINUTE_MS = 60_000

/** A user who was not seen for a minute is as good as a new one, so this many must come within one to be forgotten early. */
const MAX_USERS = 10_000

/**
 * How often each user may begin something: a minute's worth at once, and from then on as it comes in again. By the
 * name of the user: behind a port-forward all come from one address.
 */
export class UserRate {
  readonly #intervalMs: number
  readonly #now: () => number
  readonly #maxUsers: number
  /** When what a user has taken will have come in again. Those who took something last are last. */
  readonly #settledAt = new Map<string, number>()

  constructor({ perMinute, now = () => performance.now(), maxUsers = MAX_USERS }: UserRateOptions) {
    this.#intervalMs = MINUTE_MS / perMinute
    this.#now = now
    this.#maxUsers = maxUsers
  }

  get userCount(): number {
    return this.#settledAt.size
  }

  /** 0 when it is given; otherwise the milliseconds until there is one again, and nothing is taken. */
  take(user: string): number {
    const now = this.#now()
    const settledAt = Math.max(this.#settledAt.get(user) ?? now, now) + this.#intervalMs
    const wait = settledAt - now - Math.max(MINUTE_MS, this.#intervalMs)
    // What was divided may be a little more than the whole.
    if (wait > 0.001) return wait
    this.#settledAt.delete(user)
    this.#settledAt.set(user, settledAt)
    this.#forget(now)
    return 0
  }

  #forget(now: number): void {
    for (const [user, settledAt] of this.#settledAt) {
      if (settledAt > now && this.#settledAt.size <= this.#maxUsers) return
      this.#settledAt.delete(user)
    }
  }
}
