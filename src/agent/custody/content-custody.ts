import { roomForDetail } from '../../custody/draft-bounds.ts'
import { cutText, jsonBytes } from '../../custody/plain-json.ts'
import { errorText } from '../../shared/errors.ts'
import type { Logger } from '../../shared/logger.ts'
import type { ContentIntent, ContentOutcome, ContentRecorder } from '../content/content-recorder.ts'
import { covers, growAnnounced, rangeText, type ByteInterval } from './byte-interval.ts'
import { SentContent } from './content-window.ts'
import { custodyCheckpoint, type Custody } from './custody.ts'

export interface ContentCustodyOptions {
  readonly custody: Pick<Custody, 'recordContent' | 'note'>
  readonly node: string
  readonly logger: Logger
  /** Time after its last request at which a window ends. */
  readonly idleMs?: number
  /** Time during which a window accepts new requests. */
  readonly maxAgeMs?: number
  readonly maxWindows?: number
}

/**
 * Bytes of one archive that one user at one address may be sent. The interval is on disk before its first byte is sent,
 * so requests inside it write nothing. A window ends with an entry about the sent bytes.
 */
interface Window {
  readonly key: string
  readonly intent: ContentIntent
  readonly openedMs: number
  readonly sent: SentContent
  readers: number
  /** Interval that is recorded on disk. */
  announced: ByteInterval | undefined
  /** Number of the entry that first announced the interval. */
  intentSeq: number | undefined
  /** Interval whose entry is being written. */
  announcing: { readonly interval: ByteInterval; readonly done: Promise<void> } | undefined
  idleTimer: NodeJS.Timeout | undefined
}

const IDLE_MS = 60_000
/** Maximum age, so that a long download is recorded in several windows. */
const MAX_AGE_MS = 10 * 60_000
/** Maximum number of open windows. Each may need one more entry, which must fit into the reserve of the log. */
const MAX_WINDOWS = 1_000

/**
 * Records which bytes each user received. The record always covers all bytes that may have been sent, even after a
 * kill.
 */
export class ContentCustody implements ContentRecorder {
  readonly #options: ContentCustodyOptions
  /** Windows that accept requests, ordered by last use. */
  readonly #windows = new Map<string, Window>()
  readonly #byIntent = new WeakMap<ContentIntent, Window>()
  /** Windows whose end is not recorded yet. */
  readonly #open = new Set<Window>()
  readonly #ending = new Set<Promise<void>>()

  constructor(options: ContentCustodyOptions) {
    this.#options = options
  }

  begin = async (intent: ContentIntent): Promise<void> => {
    const window = this.#windowOf(intent)
    clearTimeout(window.idleTimer)
    window.readers += 1
    try {
      await this.#announce(window, neededOf(intent))
    } catch (error) {
      this.#leave(window)
      throw error
    }
    window.sent.begin(intent)
    this.#byIntent.set(intent, window)
  }

  end = async (outcome: ContentOutcome): Promise<void> => {
    const window = this.#byIntent.get(outcome.intent)
    if (window === undefined) return
    this.#byIntent.delete(outcome.intent)
    window.sent.add(outcome)
    this.#leave(window)
    await Promise.resolve()
  }

  /** Ends all open windows. */
  async close(): Promise<void> {
    for (const window of this.#open) this.#finish(window)
    while (this.#ending.size > 0) await Promise.all(this.#ending)
  }

  #windowOf(intent: ContentIntent): Window {
    const key = keyOf(intent)
    const found = this.#windows.get(key)
    if (found !== undefined) {
      this.#windows.delete(key)
      if (performance.now() - found.openedMs < (this.#options.maxAgeMs ?? MAX_AGE_MS)) {
        this.#windows.set(key, found)
        return found
      }
      if (found.readers === 0) this.#finish(found)
    }
    if (this.#open.size >= (this.#options.maxWindows ?? MAX_WINDOWS)) this.#finishOldestIdle()
    const window: Window = {
      key,
      intent,
      openedMs: performance.now(),
      sent: new SentContent(),
      readers: 0,
      announced: undefined,
      intentSeq: undefined,
      announcing: undefined,
      idleTimer: undefined,
    }
    this.#windows.set(key, window)
    this.#open.add(window)
    return window
  }

  /**
   * Resolves once the needed interval is on disk. Writes one entry at a time, since an entry may make the next one
   * unnecessary.
   */
  async #announce(window: Window, needed: ByteInterval): Promise<void> {
    while (!covers(window.announced, needed)) {
      if (window.announcing === undefined) this.#beginAnnouncing(window, needed)
      const { interval, done } = window.announcing ?? {}
      // If the entry covers the needed interval, its failure applies to this request too.
      if (covers(interval, needed)) await done
      else await done?.catch(() => undefined)
    }
  }

  #beginAnnouncing(window: Window, needed: ByteInterval): void {
    const interval = growAnnounced(window.announced, needed, sizeOf(window.intent))
    const done = this.#record(window, interval).finally(() => {
      window.announcing = undefined
    })
    done.catch(() => undefined)
    window.announcing = { interval, done }
  }

  async #record(window: Window, interval: ByteInterval): Promise<void> {
    const { intent, intentSeq } = window
    const { seq } = await this.#options.custody.recordContent({
      actor: intent.actor,
      action: 'content',
      checkpoint: custodyCheckpoint(intent.checkpoint),
      detail: {
        ...(intentSeq !== undefined && { intent: intentSeq }),
        ...aboutIntent(intent),
        ...describeInterval(interval, intent),
      },
      outcome: 'intended',
    })
    window.intentSeq ??= seq
    window.announced = interval
  }

  #leave(window: Window): void {
    window.readers -= 1
    if (window.readers > 0) return
    const isCurrent = this.#windows.get(window.key) === window
    if (!isCurrent || window.intentSeq === undefined) {
      this.#finish(window)
      return
    }
    window.idleTimer = setTimeout(() => this.#finish(window), this.#options.idleMs ?? IDLE_MS).unref()
  }

  #finishOldestIdle(): void {
    for (const window of this.#windows.values()) {
      if (window.readers > 0) continue
      this.#finish(window)
      return
    }
  }

  #finish(window: Window): void {
    clearTimeout(window.idleTimer)
    if (this.#windows.get(window.key) === window) this.#windows.delete(window.key)
    if (!this.#open.delete(window)) return
    const ending = this.#recordEnd(window)
      .catch((error: unknown) => {
        this.#options.logger.error({ error: errorText(error) }, 'Cannot record how a download ended')
      })
      .finally(() => this.#ending.delete(ending))
    this.#ending.add(ending)
  }

  async #recordEnd(window: Window): Promise<void> {
    await window.announcing?.done.catch(() => undefined)
    const { intent, intentSeq, announced, sent, readers } = window
    // Nothing was announced, so nothing was sent.
    if (intentSeq === undefined || announced === undefined) return
    const isUnfinished = readers > 0
    const { result } = sent
    const draft = {
      actor: intent.actor,
      action: 'content',
      checkpoint: custodyCheckpoint(intent.checkpoint),
      outcome: isUnfinished ? 'unknown' : result === 'failed' ? 'failed' : 'done',
    } as const
    const about = {
      intent: intentSeq,
      ...aboutIntent(intent),
      result: isUnfinished ? 'agent-ended' : result,
      announced: rangeText(announced),
    }
    const room = roomForDetail(draft, this.#options.node) - jsonBytes(about)
    await this.#options.custody.note({ ...draft, detail: { ...about, ...sent.describe(room) } })
  }
}

/** Returns the key of a window: the same user and address, the same file, and the same recipients. */
function keyOf({ actor, checkpoint, recipients }: ContentIntent): string {
  const { user, address } = actor
  return JSON.stringify([user, address, checkpoint.id, checkpoint.generation, recipients.toSorted()])
}

/**
 * Returns the interval that must be announced. Which bytes a member or list needs is not known in advance, so it is the
 * whole archive.
 */
function neededOf(intent: ContentIntent): ByteInterval {
  const { what, range } = intent
  if (what !== 'archive' || range === undefined) return { first: 0, end: sizeOf(intent) }
  return { first: range.first, end: range.end }
}

function sizeOf({ what, range, checkpoint }: ContentIntent): number {
  return what === 'archive' && range !== undefined ? range.sizeBytes : checkpoint.sizeBytes
}

function describeInterval(interval: ByteInterval, intent: ContentIntent) {
  const isWhole = interval.first === 0 && interval.end >= sizeOf(intent)
  return { range: rangeText(interval), ...(isWhole && { upTo: 'the whole' }) }
}

function aboutIntent({ what, member, coding, recipients }: ContentIntent) {
  return {
    what,
    ...(member !== undefined && { member: cutText(member, MAX_MEMBER_BYTES) }),
    ...(coding !== undefined && { coding }),
    ...(recipients.length > 0 && { recipients }),
  }
}

const MAX_MEMBER_BYTES = 512
