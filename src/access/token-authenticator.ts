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
  /** Audiences that a token must have one of. If empty, the audience is the API server. */
  readonly audiences: readonly string[]
  readonly ttlMs: number
  readonly maxEntries?: number
}

const MAX_ENTRIES = 4096

/**
 * Longest token accepted: far more than real tokens have, and still acceptable for the API server.
 */
const MAX_TOKEN_BYTES = 16 * 1024

/** Refusals are cached only briefly: the API server may not know a new token yet. */
const REFUSED_TTL_MS = 10_000

/** Bounds the load that invalid tokens put on the API server, for all callers together. */
const REFUSALS_PER_SECOND = 50
const REFUSALS_AT_ONCE = 200

/**
 * Authenticates bearer tokens. Stores digests, never tokens. Tokens that were valid before have a
 * queue of their own. All others take turns by connection, so a caller that tries many tokens
 * delays only itself.
 */
export class TokenAuthenticator {
  readonly #options: TokenAuthenticatorOptions
  readonly #cache: ExpiringCache<Principal | undefined>
  readonly #maxEntries: number
  /** Digests of valid tokens, least recently reviewed first. */
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

  /**
   * Authenticates a token; the value is undefined if the token is not valid. Throws
   * UnavailableError.
   */
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
