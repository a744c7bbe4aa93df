import type { Clock } from '../shared/clock.ts'

/** The result of a lookup and how long it stays valid. */
export interface Found<Value> {
  readonly value: Value
  readonly ttlMs: number
  /**
   * Owner whose share of the cache the entry counts against. Entries without one share a single
   * share.
   */
  readonly owner?: string
}

export interface Kept<Value> {
  readonly value: Value
  /** Expiry in milliseconds, on the cache's clock. */
  readonly until: number
}

interface Entry<Value> extends Kept<Value> {
  readonly since: number
  readonly owner: string
}

/**
 * Caches results for a limited time. Concurrent requests for the same key share one lookup, and
 * failures are not cached. Beyond `maxEntries` the owner with the most entries loses its least
 * recently used one, so a caller with ever new keys evicts only its own entries.
 */
export class ExpiringCache<Value> {
  readonly #clock: Clock
  readonly #maxEntries: number
  readonly #entries = new Map<string, Entry<Value>>()
  /** Keys of every owner, least recently used first. */
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

  /** Returns the value synchronously if it is cached. */
  get(key: string, lookUp: () => Promise<Found<Value>>): Kept<Value> | Promise<Kept<Value>> {
    return this.#kept(key) ?? this.#lookups.get(key) ?? this.#begin(key, lookUp)
  }

  /** Removes all entries. Lookups in flight are not cached either. */
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
    // After the clock was set back the entry would last too long.
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
    // The result is as old as the request for it.
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
