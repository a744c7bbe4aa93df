import { hash } from 'node:crypto'
import type { Clock } from '../shared/clock.ts'
import type { ApiServer } from './api-server-client.ts'
import { ExpiringCache, type Found, type Kept } from './expiring-cache.ts'
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

/** Finds out whose bearer token it is. Keeps no token, only its digest. */
export class TokenAuthenticator {
  readonly #options: TokenAuthenticatorOptions
  readonly #cache: ExpiringCache<Principal | undefined>

  constructor(options: TokenAuthenticatorOptions) {
    this.#options = options
    this.#cache = new ExpiringCache({ clock: options.clock, maxEntries: options.maxEntries ?? MAX_ENTRIES })
  }

  get cacheSize(): number {
    return this.#cache.size
  }

  /** Undefined value: it is no good. Throws UnavailableError. */
  authenticate(token: string): Kept<Principal | undefined> | Promise<Kept<Principal | undefined>> {
    if (token.length > MAX_TOKEN_BYTES) return { value: undefined, until: 0 }
    return this.#cache.get(hash('sha256', token, 'base64'), () => this.#ask(token))
  }

  async #ask(token: string): Promise<Found<Principal | undefined>> {
    const { api, audiences, ttlMs } = this.#options
    const principal = await reviewToken(api, token, audiences)
    return { value: principal, ttlMs: principal === undefined ? Math.min(ttlMs, REFUSED_TTL_MS) : ttlMs }
  }
}
