import { CallerLeftError, type UnavailableError } from '../../shared/errors.ts'
import { RecentBytes } from './recent-bytes.ts'
import { WaitingLine, type Waiting } from './waiting-line.ts'

export interface PlaceLimits {
  /** For all users together. */
  readonly concurrency: number
  readonly perUser: number
}

export interface PlacesOptions {
  readonly limits: PlaceLimits
  /** What is said to who waited too long, or cannot wait: which of the limits it is, and how many are taken. */
  readonly refusal: (why: {
    readonly limit: keyof PlaceLimits
    readonly user: string
    readonly taken: number
  }) => UnavailableError
  readonly times?: Partial<PlaceTimes>
}

export interface PlaceTimes {
  /** Longer than this nobody waits. */
  readonly maxWaitMs: number
  /** A stream is slow by what it took within this time. */
  readonly windowMs: number
  /** How often slow streams are looked for while somebody waits. */
  readonly lookMs: number
}

/** A place that somebody has, until `leave` is called; to call it twice does no harm. */
export interface Place {
  readonly leave: () => void
  /** Bytes go out from now on: `giveWay` ends them where they do so slowly and somebody without a place waits. */
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
 * So many may do something at once: all together, and each user. By the user's name, since addresses say nothing behind
 * a port-forward. Others wait for their turn, one of each user after the other, so that who asks a lot waits for
 * themselves; who hangs up leaves the line.
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

  /** Throws UnavailableError where too many wait, or for too long, and CallerLeftError once the signal aborts. */
  async enter(user: string, signal: AbortSignal): Promise<Place> {
    if (signal.aborted) throw new CallerLeftError()
    // Those who wait while a place is free have as many as they may.
    if (!this.#mayBegin(user)) return this.#wait(user, signal)
    return this.#take(user)
  }

  /** Does the work in a place of its own. */
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
      // The place is taken here, since it is entered only in a later turn.
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

  /** One for each who waits and has no place. Of the user who has most, and there the slowest. */
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
