import { ChangeThrottle } from './change-throttle.ts'

/** A look at a file that is under way. */
export interface Flight {
  readonly name: string
  /** Somebody waits for it. */
  readonly isWanted: boolean
  /** Something was done to the file meanwhile that the look may not have seen. */
  isStale: boolean
  readonly ended: PromiseWithResolvers<void>
}

/**
 * Which files are to be looked at, and which are being looked at. Names are their bytes as latin1 text. One look at a
 * file counts at a time: what is asked for during a look comes after it, but for one that somebody waits for, which
 * takes its place.
 */
export class ScanQueue {
  readonly #dirty = new Set<string>()
  readonly #inFlight = new Map<string, Flight>()
  /** Found to be another file than a moment ago when they were last looked at. */
  readonly #replaced = new Set<string>()
  readonly #resting: ChangeThrottle

  /** Told of a file whose rest is over and to which something has happened meanwhile. */
  constructor(onRested: (name: string) => void) {
    this.#resting = new ChangeThrottle(onRested)
  }

  /** Those that are being looked at and are asked for no further time are not in it. */
  get isEmpty(): boolean {
    return this.#dirty.size === 0
  }

  add(name: string): void {
    this.#dirty.add(name)
  }

  /** The same, but for one that rests: that one comes when its rest is over. */
  addUnlessResting(name: string): void {
    if (!this.#resting.noteChange(name)) this.#dirty.add(name)
  }

  /** Begins the look at up to so many of them. */
  take(limit: number): readonly Flight[] {
    const names: string[] = []
    for (const name of this.#dirty) {
      if (names.length >= limit) break
      if (!this.#inFlight.has(name)) names.push(name)
    }
    return names.map((name) => this.#begin(name, false))
  }

  /** Begins the look that somebody waits for. */
  begin(name: string): Flight {
    return this.#begin(name, true)
  }

  #begin(name: string, isWanted: boolean): Flight {
    const flight: Flight = { name, isWanted, isStale: false, ended: Promise.withResolvers() }
    this.#dirty.delete(name)
    this.#inFlight.set(name, flight)
    return flight
  }

  /** Whether what it found is to be taken: no other look has taken its place. */
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

  /** Resolves at the end of the look at it that somebody waits for, if one is under way. */
  async endOfWanted(name: string): Promise<void> {
    const flight = this.#inFlight.get(name)
    if (flight?.isWanted === true) await flight.ended.promise
  }

  async endOfAny(): Promise<void> {
    await Promise.race([...this.#inFlight.values()].map(({ ended }) => ended.promise))
  }

  /** A look that is under way may have found what was removed since. */
  markStale(name: string): void {
    const flight = this.#inFlight.get(name)
    if (flight !== undefined) flight.isStale = true
  }

  /** Leaves the file alone for a while; what has happened during the look counts as having happened since. */
  rest(name: string): void {
    this.#resting.rest(name, this.#dirty.delete(name))
  }

  /** It was replaced while it was looked at: it is looked at again, at once the first time. */
  addReplaced(name: string): void {
    this.#dirty.add(name)
    if (this.#replaced.delete(name)) this.rest(name)
    else this.#replaced.add(name)
  }

  /** It is to be looked at once more for that reason. */
  isReplaced(name: string): boolean {
    return this.#replaced.has(name)
  }

  /** It could be looked at. */
  settleReplaced(name: string): void {
    this.#replaced.delete(name)
  }
}
