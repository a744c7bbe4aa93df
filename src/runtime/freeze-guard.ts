import { setTimeout as sleep } from 'node:timers/promises'
import { errorText } from '../shared/errors.ts'
import type { Logger } from '../shared/logger.ts'
import type { FreezeControl, FreezeState } from './freeze-control.ts'

export interface FreezeWatchOptions {
  /** Why the container is watched, for the log. */
  readonly reason: string
  /** How long the abandoned dump may take from now on: as long as that, a pause is the dump's own. */
  readonly dumpMayTakeMs: number
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
  readonly control: FreezeControl
  readonly logger: Logger
  readonly onResumed: () => void
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
 * Watches containers whose dump ended badly or was given up, until it is really over, and resumes one that stays
 * frozen. One look after the error is not enough: the dump goes on without us and may freeze the container seconds
 * later. A pause that is younger than the dump may take is left alone: it ends by itself where all is well.
 */
export class FreezeGuard {
  readonly #control: FreezeControl
  readonly #logger: Logger
  readonly #onResumed: () => void
  readonly #timing: FreezeGuardTiming
  readonly #watches = new Map<string, { readonly stop: () => void }>()

  constructor({ control, logger, onResumed, timing }: FreezeGuardOptions) {
    this.#control = control
    this.#logger = logger
    this.#onResumed = onResumed
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

  isWatching(containerId: string): boolean {
    return this.#watches.has(containerId)
  }

  /** Stops looking at this container: a new capture is about to pause it on purpose. */
  release(containerId: string): void {
    this.#watches.get(containerId)?.stop()
    this.#watches.delete(containerId)
  }

  close(): void {
    for (const containerId of this.#watches.keys()) this.release(containerId)
  }

  async #follow(
    containerId: string,
    { reason, dumpMayTakeMs }: FreezeWatchOptions,
    { signal, settle }: { readonly signal: AbortSignal; readonly settle: (outcome: FreezeOutcome) => void },
  ): Promise<FreezeOutcome> {
    const { pollMs, quietMs, watchMs, giveUpMs } = this.#timing
    const begun = performance.now()
    let frozenSince: number | undefined
    let runningSince: number | undefined
    let outcome: FreezeOutcome = 'never-frozen'
    let lastTrouble: string | undefined

    const trouble = (what: string, error: unknown) => {
      const text = errorText(error)
      if (text !== lastTrouble) this.#logger.warn({ containerId, reason, error: text }, what)
      lastTrouble = text
    }

    while (!signal.aborted) {
      const now = performance.now()
      const state = await this.#control.look(containerId).catch((error: unknown): FreezeState => {
        trouble('Cannot see whether the container is frozen', error)
        return 'unknown'
      })
      if (state === 'gone') return 'gone'
      if (state === 'running') {
        if (frozenSince !== undefined && outcome === 'never-frozen') outcome = 'resumed-by-itself'
        frozenSince = undefined
        runningSince ??= now
        if (now - runningSince >= quietMs) settle(outcome)
        if (now - runningSince >= quietMs && now - begun >= Math.max(watchMs, dumpMayTakeMs)) return outcome
      }
      if (state === 'frozen') {
        runningSince = undefined
        frozenSince ??= now
        if (now - frozenSince >= dumpMayTakeMs) {
          try {
            await this.#control.resume(containerId)
            outcome = 'resumed'
            frozenSince = undefined
            this.#onResumed()
            this.#logger.warn({ containerId, reason }, 'Resumed a container that a dump had left frozen')
          } catch (error) {
            trouble('Cannot resume a container that a dump left frozen', error)
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
