import { CallerLeftError, type UnavailableError } from '../../shared/errors.ts'
import { RecentBytes } from './recent-bytes.ts'
import { WaitingLine, type Waiting } from './waiting-line.ts'

export interface PlaceLimits {
  /** Maximum for all users together. */
  readonly concurrency: number
  readonly perUser: number
}

export interface PlacesOptions {
  readonly limits: PlaceLimits
  /**
   * Builds the error for a caller who waited too long or cannot wait. `limit` is the limit that applied, `taken` the
   * number of places in use.
   */
  readonly refusal: (why: {
    readonly limit: keyof PlaceLimits
    readonly user: string
    readonly taken: number
  }) => UnavailableError
  readonly times?: Partial<PlaceTimes>
}

export interface PlaceTimes {
  /** Longest time that a caller waits for a place. */
  readonly maxWaitMs: number
  /** Period over which the speed of a stream is measured. */
  readonly windowMs: number
  /** Interval between checks for slow streams while a caller waits. */
  readonly lookMs: number
}

/** A place in use until `leave` is called. Calling `leave` twice is safe. */
export interface Place {
  readonly leave: () => void
  /** Marks the place as a stream. `giveWay` ends the stream if it is slow and a user without a place waits. */
  readonly stream: (giveWay: () => void) => { readonly taken: (bytes: number) => void }
}

const TIMES: PlaceTimes = { maxWaitMs: 10_000, windowMs: 10_000, lookMs: 1000 }
const LINE = { total: 64, perUser: 8 }
const SLOW_BYTES_PER_SECOND = 64 * 1024

interface Held {
  readonly user: string
  stream?: { readonly since: number; readonly recent: RecentBytes; readonly giveWay: () => void }
  isGivingWay: boolean
}

/**
 * Limits concurrent operations, in total and for each user. Users are told apart by name because all clients behind a
 * port-forward share an address. Other callers wait, and users take turns, so that a user with many requests delays
 * only their own. A caller who disconnects leaves the line.
 */
export class Places {
  readonly #options: PlacesOptions
  readonly #times: PlaceTimes
  readonly #line = new WaitingLine(LINE)
  readonly #held = new Set<Held>()
  readonly #heldBy = new Map<string, number>()
  #timer: NodeJS.Timeout | undefined

  constructor(options: PlacesOptions) {
    this.#options = options
    this.#times = { ...TIMES, ...options.times }
  }

  get takenCount(): number {
    return this.#held.size
  }

  get waitingCount(): number {
    return this.#line.length
  }

  /**
   * Waits for a place. Throws UnavailableError if too many callers wait or the wait is too long, and CallerLeftError
   * once the signal aborts.
   */
  async enter(user: string, signal: AbortSignal): Promise<Place> {
    if (signal.aborted) throw new CallerLeftError()
    // Callers who wait while a place is free have reached their own limit.
    if (!this.#mayBegin(user)) return this.#wait(user, signal)
    return this.#take(user)
  }

  /** Runs the work in a place of its own. */
  async run<Result>(user: string, signal: AbortSignal, work: () => Promise<Result>): Promise<Result> {
    const place = await this.enter(user, signal)
    try {
      return await work()
    } finally {
      place.leave()
    }
  }

  #mayBegin(user: string): boolean {
    const { concurrency, perUser } = this.#options.limits
    return this.#held.size < concurrency && this.#heldCount(user) < perUser
  }

  #heldCount(user: string): number {
    return this.#heldBy.get(user) ?? 0
  }

  #take(user: string): Place {
    const held: Held = { user, isGivingWay: false }
    this.#held.add(held)
    this.#heldBy.set(user, this.#heldCount(user) + 1)
    return {
      leave: () => {
        if (this.#held.delete(held)) this.#giveBack(user)
      },
      stream: (giveWay) => {
        const recent = new RecentBytes({ windowMs: this.#times.windowMs, now: () => performance.now() })
        held.stream = { since: performance.now(), recent, giveWay }
        return { taken: (bytes) => recent.add(bytes) }
      },
    }
  }

  #giveBack(user: string): void {
    const rest = this.#heldCount(user) - 1
    if (rest === 0) this.#heldBy.delete(user)
    else this.#heldBy.set(user, rest)
    this.#line.take((next) => this.#mayBegin(next))?.begin()
    this.#lookWhileNeeded()
  }

  #wait(user: string, signal: AbortSignal): Promise<Place> {
    const { promise, resolve, reject } = Promise.withResolvers<Place>()
    const settle = () => {
      clearTimeout(timer)
      signal.removeEventListener('abort', leave)
    }
    const waiting: Waiting = {
      user,
      // Takes the place here because the waiting code continues only in a later turn of the event loop.
      begin: () => {
        settle()
        resolve(this.#take(user))
      },
      refuse: () => {
        settle()
        reject(this.#refusal(user))
      },
    }
    const leave = () => {
      if (!this.#line.remove(waiting)) return
      settle()
      this.#lookWhileNeeded()
      reject(new CallerLeftError())
    }
    const timer = setTimeout(() => {
      if (!this.#line.remove(waiting)) return
      this.#lookWhileNeeded()
      waiting.refuse()
    }, this.#times.maxWaitMs)
    signal.addEventListener('abort', leave, { once: true })
    if (!this.#line.add(waiting)) waiting.refuse()
    this.#askSlowest()
    this.#lookWhileNeeded()
    return promise
  }

  #refusal(user: string): UnavailableError {
    const { limits, refusal } = this.#options
    const own = this.#heldCount(user)
    if (own >= limits.perUser) return refusal({ limit: 'perUser', user, taken: own })
    return refusal({ limit: 'concurrency', user, taken: this.#held.size })
  }

  #lookWhileNeeded(): void {
    const isNeeded = this.#line.length > 0
    if (isNeeded) {
      this.#timer ??= setInterval(() => this.#askSlowest(), this.#times.lookMs).unref()
      return
    }
    clearInterval(this.#timer)
    this.#timer = undefined
  }

  /** Ends one slow stream for each user who waits without a place: the slowest stream of the user who has the most. */
  #askSlowest(): void {
    let wanted = [...this.#line.users()].filter((user) => this.#heldCount(user) === 0).length
    for (const { isGivingWay } of this.#held) if (isGivingWay) wanted -= 1
    if (wanted <= 0) return
    const slow = [...this.#held]
      .flatMap((held) => (held.isGivingWay || held.stream === undefined ? [] : [{ held, ...held.stream }]))
      .filter(({ since }) => performance.now() - since >= this.#times.windowMs)
      .map(({ held, giveWay, recent }) => ({ held, giveWay, bytes: recent.total() }))
      .filter(({ bytes }) => bytes < (SLOW_BYTES_PER_SECOND * this.#times.windowMs) / 1000)
    while (wanted > 0 && slow.length > 0) {
      const remaining = (user: string) =>
        [...this.#held].filter((held) => held.user === user && !held.isGivingWay).length
      slow.sort((a, b) => remaining(b.held.user) - remaining(a.held.user) || a.bytes - b.bytes)
      const chosen = slow.shift()
      if (chosen === undefined) return
      wanted -= 1
      chosen.held.isGivingWay = true
      chosen.giveWay()
    }
  }
}
