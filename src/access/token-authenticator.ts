import { hash } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Clock } from '../shared/clock.ts'
import type { ApiServer } from './api-server-client.ts'
import { ExpiringCache, type Found, type Kept } from './expiring-cache.ts'
import { FairQueue } from './fair-queue.ts'
import type { Principal } from './principal.ts'
import { reviewToken } from './token-review.ts'

export interface TokenAuthenticatorOptions {
  readonly api: ApiServer
  readonly clock: Clock
  /** Whom a token must be for; empty: the API server itself. */
  readonly audiences: readonly string[]
  readonly ttlMs: number
  readonly maxEntries?: number
}

const MAX_ENTRIES = 4096

/** Far more than any token has; also what the API server would have to read. */
const MAX_TOKEN_BYTES = 16 * 1024

/** A token that is refused may be a new one that the API server has not heard of yet. */
const REFUSED_TTL_MS = 10_000

/** Tokens that are no good cost the API server so much and no more, whoever sends them. */
const REFUSALS_PER_SECOND = 50
const REFUSALS_AT_ONCE = 200

/**
 * Finds out whose bearer token it is. Keeps no token, only its digest. Those that were good before are asked about in a
 * queue of their own, and of the others each connection has its turn: who tries many waits for themselves.
 */
export class TokenAuthenticator {
  readonly #options: TokenAuthenticatorOptions
  readonly #cache: ExpiringCache<Principal | undefined>
  readonly #maxEntries: number
  /** Digests; the one that was asked about last is the last. */
  readonly #good = new Set<string>()
  readonly #ofGood = new FairQueue<string>({ atOnce: 4, perKey: 1, maxWaiting: 256 })
  readonly #ofOthers = new FairQueue<object>({ atOnce: 4, perKey: 1, maxWaiting: 256 })
  #refusalsSettledAt = 0

  constructor(options: TokenAuthenticatorOptions) {
    this.#options = options
    this.#maxEntries = options.maxEntries ?? MAX_ENTRIES
    this.#cache = new ExpiringCache({ clock: options.clock, maxEntries: this.#maxEntries })
  }

  get cacheSize(): number {
    return this.#cache.size
  }

  /** Undefined value: it is no good. Throws UnavailableError. */
  authenticate(
    token: string,
    connection: object = this,
  ): Kept<Principal | undefined> | Promise<Kept<Principal | undefined>> {
    if (token.length > MAX_TOKEN_BYTES) return { value: undefined, until: 0 }
    const digest = hash('sha256', token, 'base64')
    return this.#cache.get(digest, () => {
      if (this.#good.has(digest)) return this.#ofGood.run(digest, () => this.#ask(token, digest))
      return this.#ofOthers.run(connection, async () => {
        await this.#roomForRefusal()
        return this.#ask(token, digest)
      })
    })
  }

  async #ask(token: string, digest: string): Promise<Found<Principal | undefined>> {
    const { api, audiences, ttlMs } = this.#options
    const principal = await reviewToken(api, token, audiences)
    this.#good.delete(digest)
    if (principal === undefined) {
      this.#refusalsSettledAt = Math.max(this.#refusalsSettledAt, performance.now()) + 1000 / REFUSALS_PER_SECOND
      return { value: undefined, ttlMs: Math.min(ttlMs, REFUSED_TTL_MS) }
    }
    this.#good.add(digest)
    const [oldest] = this.#good
    if (this.#good.size > this.#maxEntries && oldest !== undefined) this.#good.delete(oldest)
    return { value: principal, ttlMs, owner: principal.user }
  }

  async #roomForRefusal(): Promise<void> {
    const burstMs = (REFUSALS_AT_ONCE * 1000) / REFUSALS_PER_SECOND
    const wait = this.#refusalsSettledAt - performance.now() - burstMs
    if (wait > 0) await sleep(wait)
  }
}
