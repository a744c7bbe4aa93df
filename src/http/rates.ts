import type { IncomingMessage, ServerResponse } from 'node:http'
import { UnavailableError } from '../shared/errors.ts'
import { escapeUnreadable } from '../shared/readable-text.ts'
import { principalOf } from './caller.ts'
import type { Judge } from './judge.ts'
import type { Rated } from '../api/operation.ts'
import { retryAfterSeconds } from './retry-after.ts'
import { UserRate } from './user-rate.ts'

/** Requests per minute that one user may start, for each expensive kind of request. */
export interface RateLimits {
  readonly capturesPerMinute: number
  readonly contentPerMinute: number
  readonly inspectionsPerMinute: number
  readonly verifiesPerMinute: number
  readonly changesPerMinute: number
  readonly accessPerMinute: number
}

export const UNLIMITED: RateLimits = {
  capturesPerMinute: Number.POSITIVE_INFINITY,
  contentPerMinute: Number.POSITIVE_INFINITY,
  inspectionsPerMinute: Number.POSITIVE_INFINITY,
  verifiesPerMinute: Number.POSITIVE_INFINITY,
  changesPerMinute: Number.POSITIVE_INFINITY,
  accessPerMinute: Number.POSITIVE_INFINITY,
}

/** Setting and user-visible name of each kind of request. */
const KINDS = {
  capture: { setting: 'capturesPerMinute', words: 'captures' },
  content: { setting: 'contentPerMinute', words: 'readings of content' },
  inspection: { setting: 'inspectionsPerMinute', words: 'looks into archives' },
  verify: { setting: 'verifiesPerMinute', words: 'verifications' },
  change: { setting: 'changesPerMinute', words: 'pins, unpins and removals' },
  access: { setting: 'accessPerMinute', words: 'questions about permissions' },
} as const satisfies Readonly<Record<Rated, { readonly setting: keyof RateLimits; readonly words: string }>>

/** Counts requests per user. Local root is not counted, nor is anyone while access control is off. */
export class Rates {
  readonly #judge: Judge
  readonly #limits: RateLimits
  readonly #rates = new Map<Rated, UserRate>()

  /** Kinds without a limit are unlimited. */
  constructor(judge: Judge, limits: Partial<RateLimits>) {
    this.#judge = judge
    this.#limits = { ...UNLIMITED, ...limits }
  }

  /**
   * Counts a request. Throws UnavailableError (`TooManyRequests`) and sets `Retry-After` if the user exceeds the limit.
   */
  count(req: IncomingMessage, res: ServerResponse, what: Rated): void {
    const principal = principalOf(req)
    if (this.#judge.isUnlimited(principal)) return
    const waitMs = this.#rateOf(what).take(principal.user)
    if (waitMs === 0) return
    const { setting, words } = KINDS[what]
    const wait = String(retryAfterSeconds(waitMs / 1000))
    const user = escapeUnreadable(principal.user)
    const why = `"${user}" has begun ${String(this.#limits[setting])} ${words} within a minute`
    res.setHeader('Retry-After', wait)
    throw new UnavailableError(`Cannot do this now: ${why}`, {
      code: 'TooManyRequests',
      hint: `Ask again in ${wait} s, or have server.limits.${setting} raised.`,
    })
  }

  #rateOf(what: Rated): UserRate {
    const rate = this.#rates.get(what) ?? new UserRate({ perMinute: this.#limits[KINDS[what].setting] })
    this.#rates.set(what, rate)
    return rate
  }
}
