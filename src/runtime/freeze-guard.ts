import { setTimeout as sleep } from 'node:timers/promises'
import { errorText } from '../shared/errors.ts'
import type { Logger } from '../shared/logger.ts'
import type { FreezeControl, FreezeState } from './freeze-control.ts'
import { RecordedResume, type RecordResume } from './recorded-resume.ts'

export interface FreezeWatchOptions {
  /** Reason for the watch, for the log. */
  readonly reason: string
  /** Longest remaining time of the abandoned dump; until then, a pause belongs to the dump. */
  readonly dumpMayTakeMs: number
  /**
   * True if the runtime reported that the dump failed, so that it is over. The watch then ends as
   * soon as the container runs, and a later pause belongs to someone else. If false, the dump may
   * continue unseen.
   */
  readonly isDumpOver?: boolean
  /** Further fields for the record of a resume. */
  readonly about?: Readonly<Record<string, unknown>>
}

/**
 * `left-frozen`: the container could not be resumed in time. The scan of all containers still
 * counts it.
 */
export type FreezeOutcome = 'never-frozen' | 'resumed-by-itself' | 'resumed' | 'gone' | 'left-frozen' | 'stopped'

export interface FreezeWatch {
  /**
   * Resolves when the dump appears to be over: the container has run for a moment, or was resumed.
   */
  readonly settled: Promise<FreezeOutcome>
  /** Resolves when the watch ends. */
  readonly ended: Promise<FreezeOutcome>
  stop(): void
}

export interface FreezeGuardOptions {
  readonly control: Pick<FreezeControl, 'look' | 'resume'>
  readonly logger: Logger
  readonly onResumed: () => void
  /** Called before and after every resume. */
  readonly record?: RecordResume
  readonly timing?: Partial<FreezeGuardTiming>
}

export interface FreezeGuardTiming {
  readonly pollMs: number
  /** Time without a pause after which the dump counts as over… */
  readonly quietMs: number
  /** …but a freeze can come later, so the watch lasts at least this long. */
  readonly watchMs: number
  /** Time for which an unresponsive runtime, or one that refuses to resume, is retried. */
  readonly giveUpMs: number
}

const TIMING: FreezeGuardTiming = { pollMs: 250, quietMs: 2_000, watchMs: 30_000, giveUpMs: 30 * 60_000 }

/**
 * Watches containers whose dump failed or was abandoned, and resumes one that stays frozen. Only
 * during a watch does a pause count as caused by the agent. A watch requires that the container was
 * running before its capture:
 * - If the runtime reported that the dump failed, the watch ends once the container is first seen
 * running.
 * - If the dump was abandoned, the watch lasts as long as the dump may take, and at least half a
 * minute. Such a container appears to run while CRIU holds it by ptrace, and the freeze may follow
 * seconds later.
 *
 * A pause shorter than the dump may take is left alone, because it normally ends by itself. One
 * resume ends the watch. A state that cannot be determined never counts as running.
 */
export class FreezeGuard {
  readonly #control: Pick<FreezeControl, 'look' | 'resume'>
  readonly #logger: Logger
  readonly #onResumed: () => void
  readonly #record: RecordResume
  readonly #timing: FreezeGuardTiming
  readonly #watches = new Map<string, { readonly stop: () => void }>()
  readonly #closed = new AbortController()

  constructor({ control, logger, onResumed, record, timing }: FreezeGuardOptions) {
    this.#control = control
    this.#logger = logger
    this.#onResumed = onResumed
    this.#record = record ?? (() => {})
    this.#timing = { ...TIMING, ...timing }
  }

  /** Watches a container. Replaces an earlier watch of the same container. */
  watch(containerId: string, options: FreezeWatchOptions): FreezeWatch {
    this.release(containerId)
    const stop = new AbortController()
    const settled = Promise.withResolvers<FreezeOutcome>()
    const handle = { stop: () => stop.abort() }
    this.#watches.set(containerId, handle)
    const ended = this.#follow(containerId, options, { signal: stop.signal, settle: settled.resolve }).finally(() => {
      if (this.#watches.get(containerId) === handle) this.#watches.delete(containerId)
    })
    void ended.then(settled.resolve)
    return { settled: settled.promise, ended, stop: handle.stop }
  }

  /** Aborts when the agent stops; the next start handles the remaining dumps. */
  get closed(): AbortSignal {
    return this.#closed.signal
  }

  isWatching(containerId: string): boolean {
    return this.#watches.has(containerId)
  }

  /** Stops watching a container, because a new capture is about to pause it on purpose. */
  release(containerId: string): void {
    this.#watches.get(containerId)?.stop()
    this.#watches.delete(containerId)
  }

  close(): void {
    this.#closed.abort()
    for (const containerId of this.#watches.keys()) this.release(containerId)
  }

  async #follow(
    containerId: string,
    { reason, dumpMayTakeMs, isDumpOver = false, about }: FreezeWatchOptions,
    { signal, settle }: { readonly signal: AbortSignal; readonly settle: (outcome: FreezeOutcome) => void },
  ): Promise<FreezeOutcome> {
    const { pollMs, quietMs, watchMs, giveUpMs } = this.#timing
    /** A longer pause does not belong to the dump. */
    const patienceMs = isDumpOver ? quietMs : dumpMayTakeMs
    const control = this.#control
    const resume = new RecordedResume({
      control,
      record: this.#record,
      containerId,
      origin: 'own',
      reason,
      ...(about !== undefined && { about }),
    })
    const begun = performance.now()
    let frozenSince: number | undefined
    let runningSince: number | undefined
    let outcome: FreezeOutcome = 'never-frozen'
    let lastTrouble: string | undefined

    const warn = (what: string, error: unknown) => {
      const text = errorText(error)
      if (text !== lastTrouble) this.#logger.warn({ containerId, reason, error: text }, what)
      lastTrouble = text
    }

    while (!signal.aborted) {
      const state = await control.look(containerId).catch((error: unknown): FreezeState => {
        warn('Cannot see whether the container is frozen', error)
        return 'unknown'
      })
      if (signal.aborted) break
      const now = performance.now()
      if (state === 'gone') return 'gone'
      if (state === 'running') {
        if (frozenSince !== undefined && outcome === 'never-frozen') outcome = 'resumed-by-itself'
        // A resume that reported an error may still have worked, so a later pause is not caused by
        // the agent.
        if (isDumpOver || resume.wasTried) return outcome
        frozenSince = undefined
        runningSince ??= now
        if (now - runningSince >= quietMs) settle(outcome)
        if (now - runningSince >= quietMs && now - begun >= Math.max(watchMs, dumpMayTakeMs)) return outcome
      }
      if (state === 'frozen') {
        runningSince = undefined
        frozenSince ??= now
        if (now - frozenSince >= patienceMs) {
          try {
            await resume.attempt(now - frozenSince)
            this.#onResumed()
            this.#logger.warn({ containerId, reason }, 'Resumed a container that a dump had left frozen')
            return 'resumed'
          } catch (error) {
            warn('Cannot resume a container that a dump left frozen', error)
          }
        }
      }
      if (state === 'unknown') {
        runningSince = undefined
        // The state is unknown: treat the container as settled after the time that the dump may
        // take.
        if (now - begun >= Math.max(quietMs, dumpMayTakeMs)) settle(outcome)
      }
      if (now - begun >= Math.max(giveUpMs, 2 * dumpMayTakeMs)) return 'left-frozen'
      await sleep(pollMs, undefined, { signal, ref: false }).catch(() => undefined)
    }
    return 'stopped'
  }
}
