import { setTimeout as sleep } from 'node:timers/promises'
import { errorText } from '../shared/errors.ts'
import type { Logger } from '../shared/logger.ts'
import type { FreezeControl, FreezeState } from './freeze-control.ts'
import { RecordedResume, type RecordResume } from './recorded-resume.ts'

export interface FreezeWatchOptions {
  /** Why the container is watched, for the log. */
  readonly reason: string
  /** How long the abandoned dump may take from now on: as long as that, a pause is the dump's own. */
  readonly dumpMayTakeMs: number
  /**
   * The runtime has answered that the dump failed, so the dump is over: the first look that says running ends the
   * watch, and what is paused then is somebody else's. Without it the dump may go on unseen.
   */
  readonly isDumpOver?: boolean
  /** What is recorded beside the container's id when it is resumed. */
  readonly about?: Readonly<Record<string, unknown>>
}

/** `left-frozen`: it could not be freed within the time; it is still counted by the look at every container. */
export type FreezeOutcome = 'never-frozen' | 'resumed-by-itself' | 'resumed' | 'gone' | 'left-frozen' | 'stopped'

export interface FreezeWatch {
  /** Resolves when the dump is over as far as can be seen: the container has run on for a moment, or has been freed. */
  readonly settled: Promise<FreezeOutcome>
  /** Resolves when nobody need look any more. */
  readonly ended: Promise<FreezeOutcome>
  stop(): void
}

export interface FreezeGuardOptions {
  readonly control: Pick<FreezeControl, 'look' | 'resume'>
  readonly logger: Logger
  readonly onResumed: () => void
  /** Told of each resume, before and after it. */
  readonly record?: RecordResume
  readonly timing?: Partial<FreezeGuardTiming>
}

export interface FreezeGuardTiming {
  readonly pollMs: number
  /** A container that has run for so long without a pause is through with its dump… */
  readonly quietMs: number
  /** …but a freeze was seen to come later than that, so the look goes on for at least this long. */
  readonly watchMs: number
  /** How long a runtime that does not answer, or refuses to resume, is asked again. */
  readonly giveUpMs: number
}

const TIMING: FreezeGuardTiming = { pollMs: 250, quietMs: 2_000, watchMs: 30_000, giveUpMs: 30 * 60_000 }

/**
 * Watches containers whose dump ended badly or was given up, and resumes one that stays frozen. A watch is the time in
 * which a pause counts as ours, and exists only where the container was seen to run before its capture:
 * - The runtime answered that the dump failed: until the container is first seen to run.
 * - The dump was given up: for as long as it may take and at least half a minute, whatever is seen in between. Such a
 *   container looks running while CRIU holds it by ptrace, and the freeze may come seconds later. A pause that is
 *   younger than the dump may take is left alone: it ends by itself where all is well.
 * One resume ends it. A look that could not tell is never one that says running.
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

  /** A newer watch of the same container takes the place of the older. */
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

  /** Aborted when the agent ends: what is not over by then is left to the next one. */
  get closed(): AbortSignal {
    return this.#closed.signal
  }

  isWatching(containerId: string): boolean {
    return this.#watches.has(containerId)
  }

  /** Stops looking at this container: a new capture is about to pause it on purpose. */
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
    /** A pause that lasts longer is not the dump's. */
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
        // A resume that seemed to fail may have worked all the same: what is paused from now on is not ours.
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
        // Nobody can tell: the container is treated as settled after the time that the dump may take.
        if (now - begun >= Math.max(quietMs, dumpMayTakeMs)) settle(outcome)
      }
      if (now - begun >= Math.max(giveUpMs, 2 * dumpMayTakeMs)) return 'left-frozen'
      await sleep(pollMs, undefined, { signal, ref: false }).catch(() => undefined)
    }
    return 'stopped'
  }
}
