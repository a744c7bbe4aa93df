import { setTimeout as sleep } from 'node:timers/promises'
import { errorText } from '../../shared/errors.ts'
import { withoutHostPaths } from '../../shared/host-paths.ts'
import type { Logger } from '../../shared/logger.ts'
import type { ContentIntent, ContentOutcome, ContentRecorder } from '../content/content-recorder.ts'
import { custodyCheckpoint, type Custody } from './custody.ts'

export interface ContentCustodyOptions {
  readonly custody: Pick<Custody, 'record' | 'note'>
  readonly logger: Logger
  readonly windowMs?: number
}

/** What one client was given of one archive within a minute: one entry before its first byte, one at its end. */
interface Window {
  readonly intent: ContentIntent
  readonly recorded: Promise<{ readonly seq: number }>
  readonly ranges: Range[]
  isOpen: boolean
  readers: number
  requests: number
  sentBytes: number
  result: ContentOutcome['result']
  error: string | undefined
  readonly idle: { resolve: () => void; promise: Promise<void> }
}

interface Range {
  first: number
  end: number
}

const WINDOW_MS = 60_000
/** More than a client needs that resumes; the others are counted. */
const MAX_RANGES = 200

/** Puts on record who was given which bytes; the many ranges of one download are one story. */
export class ContentCustody implements ContentRecorder {
  readonly #options: ContentCustodyOptions
  readonly #windows = new Map<string, Window>()
  readonly #byIntent = new WeakMap<ContentIntent, Window>()
  readonly #ending = new Set<Promise<void>>()
  readonly #stop = new AbortController()

  constructor(options: ContentCustodyOptions) {
    this.#options = options
  }

  begin = async (intent: ContentIntent): Promise<void> => {
    const key = keyOf(intent)
    const open = this.#windows.get(key)
    const window = open?.isOpen === true ? open : this.#open(key, intent)
    window.readers += 1
    window.requests += 1
    this.#byIntent.set(intent, window)
    try {
      await window.recorded
    } catch (error) {
      if (this.#windows.get(key) === window) this.#windows.delete(key)
      throw error
    }
  }

  end = async ({ intent, result, sentBytes, error }: ContentOutcome): Promise<void> => {
    const window = this.#byIntent.get(intent)
    if (window === undefined) return
    window.readers -= 1
    window.sentBytes += sentBytes
    if (result !== 'sent') window.result = result
    if (error !== undefined) window.error = error
    if (intent.range !== undefined && sentBytes > 0) {
      const { first, end } = intent.range
      addRange(window.ranges, { first, end: Math.min(end, first + sentBytes) })
    }
    if (window.readers === 0 && !window.isOpen) window.idle.resolve()
    await Promise.resolve()
  }

  /** Writes the outcome of everything that is still open. */
  async close(): Promise<void> {
    this.#stop.abort()
    await Promise.all(this.#ending)
  }

  #open(key: string, intent: ContentIntent): Window {
    const window: Window = {
      intent,
      recorded: this.#options.custody.record({
        actor: intent.actor,
        action: 'content',
        checkpoint: custodyCheckpoint(intent.checkpoint),
        detail: { ...aboutIntent(intent), ...(intent.range !== undefined && { range: rangeText(intent.range) }) },
        outcome: 'intended',
      }),
      ranges: [],
      isOpen: true,
      readers: 0,
      requests: 0,
      sentBytes: 0,
      result: 'sent',
      error: undefined,
      idle: Promise.withResolvers<void>(),
    }
    this.#windows.set(key, window)
    const ending = this.#endLater(key, window).finally(() => this.#ending.delete(ending))
    this.#ending.add(ending)
    return window
  }

  /** After its minute nothing new comes into a window; it ends when the last that is in it has ended. */
  async #endLater(key: string, window: Window): Promise<void> {
    const recorded = await window.recorded.catch(() => undefined)
    if (recorded === undefined) return
    const { signal } = this.#stop
    await sleep(this.#options.windowMs ?? WINDOW_MS, undefined, { signal, ref: false }).catch(() => undefined)
    window.isOpen = false
    if (this.#windows.get(key) === window) this.#windows.delete(key)
    const stopped = Promise.withResolvers<void>()
    signal.addEventListener('abort', () => stopped.resolve(), { once: true })
    if (window.readers > 0 && !signal.aborted) await Promise.race([window.idle.promise, stopped.promise])
    await this.#recordEnd(window, recorded.seq).catch((error: unknown) => {
      this.#options.logger.error({ error: errorText(error) }, 'Cannot record how a download ended')
    })
  }

  async #recordEnd(window: Window, intentSeq: number): Promise<void> {
    const { intent, ranges, requests, sentBytes, result, error } = window
    const isUnfinished = window.readers > 0
    await this.#options.custody.note({
      actor: intent.actor,
      action: 'content',
      checkpoint: custodyCheckpoint(intent.checkpoint),
      detail: {
        intent: intentSeq,
        ...aboutIntent(intent),
        result: isUnfinished ? 'agent-ended' : result,
        requests,
        sentBytes,
        ranges: ranges.slice(0, MAX_RANGES).map(rangeText),
        ...(ranges.length > MAX_RANGES && { moreRanges: ranges.length - MAX_RANGES }),
        ...(error !== undefined && { error: withoutHostPaths(error) }),
      },
      outcome: isUnfinished ? 'unknown' : result === 'failed' ? 'failed' : 'done',
    })
  }
}

function aboutIntent({ what, member, coding, recipients }: ContentIntent) {
  return {
    what,
    ...(member !== undefined && { member }),
    ...(coding !== undefined && { coding }),
    ...(recipients.length > 0 && { recipients }),
  }
}

/** The same client and the same thing; the address alone says little behind a port-forward. */
function keyOf({ actor, checkpoint, what, member, recipients }: ContentIntent): string {
  const { user, groups, address } = actor
  return JSON.stringify([user, groups, address, checkpoint.id, checkpoint.generation, what, member, recipients])
}

/** Ranges that touch are one. */
function addRange(ranges: Range[], added: Range): void {
  const touching = ranges.filter(({ first, end }) => first <= added.end && added.first <= end)
  for (const range of touching) {
    added.first = Math.min(added.first, range.first)
    added.end = Math.max(added.end, range.end)
    ranges.splice(ranges.indexOf(range), 1)
  }
  const place = ranges.findIndex(({ first }) => first > added.first)
  ranges.splice(place === -1 ? ranges.length : place, 0, added)
}

/** As in HTTP: the last byte is included. */
function rangeText({ first, end }: { readonly first: number; readonly end: number }): string {
  return `${first}-${end - 1}`
}
