import type { Clock } from '../shared/clock.ts'

/** What a look-up found, and how long that may be believed. */
export interface Found<Value> {
  readonly value: Value
  readonly ttlMs: number
  /** Whose share of the cache it takes; absent: the share of those who are nobody. */
  readonly owner?: string
}

export interface Kept<Value> {
  readonly value: Value
  /** In milliseconds, on the cache's clock. */
  readonly until: number
}

interface Entry<Value> extends Kept<Value> {
  readonly since: number
  readonly owner: string
}

/**
 * Answers that hold for a while. Those who ask for the same at once share one look-up, and what fails is not kept. Of
 * more than `maxEntries` one goes of the owner who has most, the one that was not asked for the longest: who asks for
 * ever new things drives out their own answers only.
 */
export class ExpiringCache<Value> {
  readonly #clock: Clock
  readonly #maxEntries: number
  readonly #entries = new Map<string, Entry<Value>>()
  /** The keys of each, the one that was asked for last as the last. */
  readonly #keysByOwner = new Map<string, Set<string>>()
  readonly #lookups = new Map<string, Promise<Kept<Value>>>()
  #generation = 0

  constructor({ clock, maxEntries }: { readonly clock: Clock; readonly maxEntries: number }) {
    this.#clock = clock
    this.#maxEntries = maxEntries
  }

  get size(): number {
    return this.#entries.size
  }

  /** At once where it is known. */
  get(key: string, lookUp: () => Promise<Found<Value>>): Kept<Value> | Promise<Kept<Value>> {
    return this.#kept(key) ?? this.#lookups.get(key) ?? this.#begin(key, lookUp)
  }

  /** Also what is being looked up now is not kept. */
  clear(): void {
    this.#generation++
    this.#entries.clear()
    this.#keysByOwner.clear()
    this.#lookups.clear()
  }

  #kept(key: string): Kept<Value> | undefined {
    const entry = this.#entries.get(key)
    if (entry === undefined) return undefined
    const now = this.#clock.now().getTime()
    this.#remove(key)
    // A clock that was set back would make it last longer.
    if (now >= entry.until || now < entry.since) return undefined
    this.#add(key, entry)
    return entry
  }

  #begin(key: string, lookUp: () => Promise<Found<Value>>): Promise<Kept<Value>> {
    const lookup = this.#lookUp(key, lookUp).finally(() => {
      if (this.#lookups.get(key) === lookup) this.#lookups.delete(key)
    })
    this.#lookups.set(key, lookup)
    return lookup
  }

  async #lookUp(key: string, lookUp: () => Promise<Found<Value>>): Promise<Kept<Value>> {
    const generation = this.#generation
    // The answer is as old as the question.
    const since = this.#clock.now().getTime()
    const { value, ttlMs, owner = '' } = await lookUp()
    const entry = { value, since, until: since + ttlMs, owner }
    if (ttlMs > 0 && generation === this.#generation) this.#keep(key, entry)
    return entry
  }

  #keep(key: string, entry: Entry<Value>): void {
    this.#remove(key)
    this.#add(key, entry)
    if (this.#entries.size <= this.#maxEntries) return
    let most: ReadonlySet<string> = new Set()
    for (const keys of this.#keysByOwner.values()) if (keys.size > most.size) most = keys
    const [oldest] = most
    if (oldest !== undefined) this.#remove(oldest)
  }

  #add(key: string, entry: Entry<Value>): void {
    this.#entries.set(key, entry)
    const keys = this.#keysByOwner.get(entry.owner) ?? new Set()
    this.#keysByOwner.set(entry.owner, keys.add(key))
  }

  #remove(key: string): void {
    const entry = this.#entries.get(key)
    if (entry === undefined) return
    this.#entries.delete(key)
    const keys = this.#keysByOwner.get(entry.owner)
    keys?.delete(key)
    if (keys?.size === 0) this.#keysByOwner.delete(entry.owner)
  }
}
