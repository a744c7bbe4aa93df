import { ChangeThrottle } from './change-throttle.ts'

/** A refresh that is under way. */
export interface Flight {
  readonly name: string
  /** Whether a caller waits for the refresh. */
  readonly isWanted: boolean
  /** Whether the file was changed meanwhile in a way that the refresh may have missed. */
  isStale: boolean
  readonly ended: PromiseWithResolvers<void>
}

/**
 * Holds files to refresh and the refreshes under way. Names are latin1 text. One refresh of a file counts at a time. A
 * request during a refresh is handled after it, except that of a waiting caller, which replaces it.
 */
export class ScanQueue {
  readonly #dirty = new Set<string>()
  readonly #inFlight = new Map<string, Flight>()
  /** Files that had been replaced when they were last refreshed. */
  readonly #replaced = new Set<string>()
  readonly #resting: ChangeThrottle

  /** Creates a queue that reports throttled files that changed meanwhile. */
  constructor(onRested: (name: string) => void) {
    this.#resting = new ChangeThrottle(onRested)
  }

  /** Whether no file is queued. Files that are only being refreshed do not count. */
  get isEmpty(): boolean {
    return this.#dirty.size === 0
  }

  add(name: string): void {
    this.#dirty.add(name)
  }

  /** Adds a file unless it is throttled. A throttled file is reported at the end of its interval. */
  addUnlessResting(name: string): void {
    if (!this.#resting.noteChange(name)) this.#dirty.add(name)
  }

  /** Starts refreshes of at most `limit` files. */
  take(limit: number): readonly Flight[] {
    const names: string[] = []
    for (const name of this.#dirty) {
      if (names.length >= limit) break
      if (!this.#inFlight.has(name)) names.push(name)
    }
    return names.map((name) => this.#begin(name, false))
  }

  /** Starts the refresh that a caller waits for. */
  begin(name: string): Flight {
    return this.#begin(name, true)
  }

  #begin(name: string, isWanted: boolean): Flight {
    const flight: Flight = { name, isWanted, isStale: false, ended: Promise.withResolvers() }
    this.#dirty.delete(name)
    this.#inFlight.set(name, flight)
    return flight
  }

  /** Returns whether the result of the refresh is valid, because no other refresh has replaced it. */
  counts(flight: Flight): boolean {
    return this.#inFlight.get(flight.name) === flight
  }

  end(flight: Flight): void {
    if (this.counts(flight)) this.#inFlight.delete(flight.name)
    flight.ended.resolve()
  }

  isBeingWaitedFor(name: string): boolean {
    return this.#inFlight.get(name)?.isWanted === true
  }

  /** Resolves once the refresh that a caller waits for ends, if one is under way. */
  async endOfWanted(name: string): Promise<void> {
    const flight = this.#inFlight.get(name)
    if (flight?.isWanted === true) await flight.ended.promise
  }

  async endOfAny(): Promise<void> {
    await Promise.race([...this.#inFlight.values()].map(({ ended }) => ended.promise))
  }

  /** Marks a refresh under way as stale, since it may have seen a file that was removed later. */
  markStale(name: string): void {
    const flight = this.#inFlight.get(name)
    if (flight !== undefined) flight.isStale = true
  }

  /** Throttles the file. A change during its refresh counts as a later one. */
  rest(name: string): void {
    this.#resting.rest(name, this.#dirty.delete(name))
  }

  /** Queues a file that was replaced during its refresh. The first time it is refreshed at once, then at intervals. */
  addReplaced(name: string): void {
    this.#dirty.add(name)
    if (this.#replaced.delete(name)) this.rest(name)
    else this.#replaced.add(name)
  }

  /** Returns whether the file must be refreshed again because it was replaced. */
  isReplaced(name: string): boolean {
    return this.#replaced.has(name)
  }

  /** Notes that the file could be refreshed. */
  settleReplaced(name: string): void {
    this.#replaced.delete(name)
  }
}
