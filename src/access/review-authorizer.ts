import { hash } from 'node:crypto'
import type { Clock } from '../shared/clock.ts'
import type { ApiServer } from './api-server-client.ts'
import { ExpiringCache, type Found } from './expiring-cache.ts'
import { FairQueue } from './fair-queue.ts'
import type { Principal } from './principal.ts'
import type { Authorizer, Decision, Question } from './question.ts'
import { reviewAccess } from './subject-access-review.ts'

export interface ReviewAuthorizerOptions {
  readonly api: ApiServer
  readonly clock: Clock
  readonly allowTtlMs: number
  readonly denyTtlMs: number
  readonly maxEntries?: number
}

const MAX_ENTRIES = 8192

/** Limits that leave room for other callers while one checks many namespaces at the same time. */
const QUEUE = { atOnce: 8, perKey: 6, maxWaiting: 400 }

/** Asks the API server for permissions and caches its decisions. */
export class ReviewAuthorizer implements Authorizer {
  readonly #options: ReviewAuthorizerOptions
  readonly #cache: ExpiringCache<boolean>
  readonly #queue = new FairQueue<string>(QUEUE)
  readonly #keys = new WeakMap<Principal, string>()

  constructor(options: ReviewAuthorizerOptions) {
    this.#options = options
    this.#cache = new ExpiringCache({ clock: options.clock, maxEntries: options.maxEntries ?? MAX_ENTRIES })
  }

  get cacheSize(): number {
    return this.#cache.size
  }

  decide(principal: Principal, question: Question): Decision | Promise<Decision> {
    const kept = this.#cache.get(this.#keyOf(principal, question), () =>
      this.#queue.run(principal.user, () => this.#ask(principal, question)),
    )
    return kept instanceof Promise ? kept.then(toDecision) : toDecision(kept)
  }

  async #ask(principal: Principal, question: Question): Promise<Found<boolean>> {
    const { api, allowTtlMs, denyTtlMs } = this.#options
    const isAllowed = await reviewAccess(api, principal, question)
    return { value: isAllowed, ttlMs: isAllowed ? allowTtlMs : denyTtlMs, owner: principal.user }
  }

  /**
   * Returns a cache key. Hashes the principal, because groups and names may be long and there are
   * many entries.
   */
  #keyOf(principal: Principal, question: Question): string {
    let who = this.#keys.get(principal)
    if (who === undefined) {
      const { user, uid, groups, extra } = principal
      who = hash('sha256', JSON.stringify([user, uid, groups, extra]), 'base64')
      this.#keys.set(principal, who)
    }
    const { verb, group, resource, subresource = '', namespace = '', name = '' } = question
    const what = JSON.stringify([verb, group, resource, subresource, namespace, name])
    return who + (what.length > 256 ? hash('sha256', what, 'base64') : what)
  }
}

function toDecision({ value, until }: { readonly value: boolean; readonly until: number }): Decision {
  return { isAllowed: value, until }
}
