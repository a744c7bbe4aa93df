export interface Waiting {
  readonly user: string
  readonly begin: () => void
  readonly refuse: () => void
}

export interface WaitingLineLimits {
  readonly total: number
  readonly perUser: number
}

/** Holds waiting callers in one lane for each user. The lanes take turns. */
export class WaitingLine {
  readonly #limits: WaitingLineLimits
  /** Lanes by user, ordered by whose turn is next. */
  readonly #lanes = new Map<string, Waiting[]>()
  #length = 0

  constructor(limits: WaitingLineLimits) {
    this.#limits = limits
  }

  get length(): number {
    return this.#length
  }

  users(): Iterable<string> {
    return this.#lanes.keys()
  }

  /**
   * Adds a caller. Returns false if the user's lane is full. If the whole line is full, the last caller of the longest
   * lane is refused, which may be this one.
   */
  add(waiting: Waiting): boolean {
    const lane = this.#lanes.get(waiting.user) ?? []
    if (lane.length >= this.#limits.perUser) return false
    lane.push(waiting)
    this.#lanes.set(waiting.user, lane)
    this.#length += 1
    if (this.#length > this.#limits.total) this.#refuseOne(lane)
    return true
  }

  /** Removes a caller. Returns false if the caller no longer waits. */
  remove(waiting: Waiting): boolean {
    const lane = this.#lanes.get(waiting.user)
    const at = lane?.indexOf(waiting) ?? -1
    if (lane === undefined || at === -1) return false
    lane.splice(at, 1)
    if (lane.length === 0) this.#lanes.delete(waiting.user)
    this.#length -= 1
    return true
  }

  /**
   * Removes and returns the first caller of the first user who may begin, and moves that user to the end of the line.
   */
  take(mayBegin: (user: string) => boolean): Waiting | undefined {
    for (const [user, lane] of this.#lanes) {
      const [first] = lane
      if (first === undefined || !mayBegin(user)) continue
      this.remove(first)
      if (this.#lanes.delete(user)) this.#lanes.set(user, lane)
      return first
    }
    return undefined
  }

  /** Refuses the last caller of the longest lane, or the latest caller if no lane is longer than theirs. */
  #refuseOne(newcomers: readonly Waiting[]): void {
    let longest = newcomers
    for (const lane of this.#lanes.values()) if (lane.length > longest.length) longest = lane
    const last = longest.at(-1)
    if (last !== undefined && this.remove(last)) last.refuse()
  }
}
