export interface UserRateOptions {
  readonly perMinute: number
  /** Monotonic clock in milliseconds. */
  readonly now?: () => number
  readonly maxUsers?: number
}

const MINUTE_MS = 60_000

/**
 * Users remembered at most. More within one minute evict the oldest early; users idle for a minute are forgotten
 * anyway.
 */
const MAX_USERS = 10_000

/**
 * Limits how often each user may start something: a burst of one minute's quota, which then refills steadily. Counts by
 * user name, because all clients behind a port-forward share one address.
 */
export class UserRate {
  readonly #intervalMs: number
  readonly #now: () => number
  readonly #maxUsers: number
  /** Time at which each user's quota is full again; the most recently active users are last. */
  readonly #settledAt = new Map<string, number>()

  constructor({ perMinute, now = () => performance.now(), maxUsers = MAX_USERS }: UserRateOptions) {
    this.#intervalMs = MINUTE_MS / perMinute
    this.#now = now
    this.#maxUsers = maxUsers
  }

  get userCount(): number {
    return this.#settledAt.size
  }

  /** Takes one unit and returns 0, or takes none and returns the milliseconds until one is available. */
  take(user: string): number {
    const now = this.#now()
    const settledAt = Math.max(this.#settledAt.get(user) ?? now, now) + this.#intervalMs
    const wait = settledAt - now - Math.max(MINUTE_MS, this.#intervalMs)
    // Tolerates rounding errors of the division.
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
