import type { IncomingMessage, ServerResponse } from 'node:http'
import { UnavailableError } from '../shared/errors.ts'
import { escapeUnreadable } from '../shared/readable-text.ts'
import { principalOf } from './caller.ts'
import type { Judge } from './judge.ts'
import { UserRate } from './user-rate.ts'

/** How often one user may begin what costs the node most. */
export interface RateLimits {
  readonly capturesPerMinute: number
  readonly contentPerMinute: number
}

export const UNLIMITED: RateLimits = {
  capturesPerMinute: Number.POSITIVE_INFINITY,
  contentPerMinute: Number.POSITIVE_INFINITY,
}

export type Rated = 'capture' | 'content'

const WORDS = { capture: 'captures', content: 'readings of content' } as const

/** Counts what users begin. Root of the node, and everybody where nobody has a name, are not counted. */
export class Rates {
  readonly #judge: Judge
  readonly #limits: RateLimits
  readonly #rates: Readonly<Record<Rated, UserRate>>

  constructor(judge: Judge, limits: RateLimits) {
    this.#judge = judge
    this.#limits = limits
    this.#rates = {
      capture: new UserRate({ perMinute: limits.capturesPerMinute }),
      content: new UserRate({ perMinute: limits.contentPerMinute }),
    }
  }

  /** Throws UnavailableError (`TooManyRequests`), and tells the answer when to ask again. */
  count(req: IncomingMessage, res: ServerResponse, what: Rated): void {
    const principal = principalOf(req)
    if (this.#judge.isUnlimited(principal)) return
    const wait = Math.ceil(this.#rates[what].take(principal.user) / 1000)
    if (wait === 0) return
    const key = what === 'capture' ? 'capturesPerMinute' : 'contentPerMinute'
    const user = escapeUnreadable(principal.user)
    const why = `"${user}" has begun ${String(this.#limits[key])} ${WORDS[what]} within a minute`
    res.setHeader('Retry-After', String(wait))
    throw new UnavailableError(`Cannot do this now: ${why}`, {
      code: 'TooManyRequests',
      hint: `Ask again in ${String(wait)} s, or have server.limits.${key} raised.`,
    })
  }
}
