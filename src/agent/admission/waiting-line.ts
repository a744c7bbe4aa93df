export interface Waiting {
  readonly user: string
  readonly begin: () => void
  readonly refuse: () => void
}

export interface WaitingLineLimits {
  readonly total: number
  readonly perUser: number
}

/** Those who wait, one lane for each user. The lanes have their turn one after the other. */
export class WaitingLine {
  readonly #limits: WaitingLineLimits
  /** Whose turn is next stands first. */
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

  /** False where its user has as many as may wait. Where the line is full one of those with most is refused: it may be this one. */
  add(waiting: Waiting): boolean {
    const lane = this.#lanes.get(waiting.user) ?? []
    if (lane.length >= this.#limits.perUser) return false
    lane.push(waiting)
    this.#lanes.set(waiting.user, lane)
    this.#length += 1
    if (this.#length > this.#limits.total) this.#refuseOne(lane)
    return true
  }

  /** False where it does not wait any more. */
  remove(waiting: Waiting): boolean {
    const lane = this.#lanes.get(waiting.user)
    const at = lane?.indexOf(waiting) ?? -1
    if (lane === undefined || at === -1) return false
    lane.splice(at, 1)
    if (lane.length === 0) this.#lanes.delete(waiting.user)
    this.#length -= 1
    return true
  }

  /** The first of the first user who may; that user's turn comes after that of all others. */
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

  /** The last of the longest lane; where none is longer than that of who came last, they are the one. */
  #refuseOne(newcomers: readonly Waiting[]): void {
    let longest = newcomers
    for (const lane of this.#lanes.values()) if (lane.length > longest.length) longest = lane
    const last = longest.at(-1)
    if (last !== undefined && this.remove(last)) last.refuse()
  }
}
