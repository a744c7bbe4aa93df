import { isNodeFailure, probeCheckpointAbility, type CheckpointAbility } from '../../runtime/checkpoint-ability.ts'
import type { ContainerRuntime, RuntimeVersion } from '../../runtime/container-runtime.ts'
import { AgentError, errorText } from '../../shared/errors.ts'
import type { ContainerCapture } from '../../checkpoint/capture-job.ts'
import type { Clock } from '../../shared/clock.ts'
import { PollLoop } from '../../shared/poll-loop.ts'
import type { Logger } from '../../shared/logger.ts'

export interface RuntimeState {
  /** Version of the runtime that answered last, even if it does not answer now. */
  readonly version: RuntimeVersion | undefined
  /** Reason why the runtime cannot be queried now. */
  readonly error: string | undefined
  readonly ability: CheckpointAbility
  readonly checkedAt: Date | undefined
}

export interface RuntimeMonitorOptions {
  readonly runtime: ContainerRuntime
  readonly clock: Clock
  readonly logger: Logger
  readonly intervalMs?: number
  /** Time for which a detected ability is trusted, since CRIU may be installed or removed meanwhile. */
  readonly abilityHoldsMs?: number
}

const NOT_ASKED = {
  state: 'unknown',
  code: 'RuntimeUnavailable',
  reason: 'the runtime has not been asked yet',
} as const

/** Monitors which runtime answers on the CRI socket and whether it can checkpoint, before a capture is requested. */
export class RuntimeMonitor {
  readonly #runtime: ContainerRuntime
  readonly #clock: Clock
  readonly #logger: Logger
  readonly #abilityHoldsMs: number
  readonly #loop: PollLoop
  #state: RuntimeState = { version: undefined, error: NOT_ASKED.reason, ability: NOT_ASKED, checkedAt: undefined }
  #probedAt = Number.NEGATIVE_INFINITY
  /**
   * Inability shown by a real checkpoint. Cleared once a checkpoint succeeds or the runtime is restarted or replaced.
   */
  #shown: CheckpointAbility | undefined
  #looking: Promise<RuntimeState> | undefined

  constructor({ runtime, clock, logger, intervalMs = 10_000, abilityHoldsMs = 60_000 }: RuntimeMonitorOptions) {
    this.#runtime = runtime
    this.#clock = clock
    this.#logger = logger
    this.#abilityHoldsMs = abilityHoldsMs
    this.#loop = new PollLoop({ poll: () => this.look(), intervalMs })
  }

  get state(): RuntimeState {
    return this.#state
  }

  start(): void {
    this.#loop.start()
  }

  async stop(): Promise<void> {
    await this.#loop.stop()
  }

  /** Returns the current state. Queries the runtime unless it is known to be healthy. */
  async freshState(): Promise<RuntimeState> {
    const isWell = this.#state.error === undefined && this.#state.ability.state !== 'unknown'
    return isWell ? this.#state : await this.look()
  }

  /**
   * Updates the ability from a finished capture. A failure caused by the node outweighs every probe, since the runtime
   * may check nothing before it dumps.
   */
  noteCapture({ state, failure }: Pick<ContainerCapture, 'state' | 'failure'>): void {
    if (state === 'succeeded') this.#shown = undefined
    else if (failure !== undefined && isNodeFailure(failure.code)) {
      const { code, detail, hint } = failure
      this.#shown = {
        state: 'no',
        code,
        reason: `the last checkpoint failed: ${detail}`,
        ...(hint !== undefined && { hint }),
      }
    } else return
    const before = this.#state
    const ability = this.#shown ?? { state: 'yes' }
    this.#state = { ...before, ability, checkedAt: this.#clock.now() }
    this.#logChange(before)
  }

  look(): Promise<RuntimeState> {
    this.#looking ??= this.#look().finally(() => {
      this.#looking = undefined
    })
    return this.#looking
  }

  async #look(): Promise<RuntimeState> {
    const before = this.#state
    try {
      const version = await this.#runtime.version()
      const isSame =
        before.error === undefined &&
        before.version?.name === version.name &&
        before.version.version === version.version
      const mustProbe =
        !isSame || before.ability.state === 'unknown' || performance.now() - this.#probedAt > this.#abilityHoldsMs
      // A restarted runtime may have found the missing part.
      if (!isSame && before.version !== undefined) this.#shown = undefined
      const probed = mustProbe ? await this.#probe() : this.#state.ability
      const ability = probed.state === 'yes' ? (this.#shown ?? probed) : probed
      const error = await this.#runtime.notReadyReason()
      this.#state = { version, error, ability, checkedAt: this.#clock.now() }
    } catch (error) {
      this.#state = {
        version: before.version,
        error: errorText(error),
        ability: {
          state: 'unknown',
          code: error instanceof AgentError ? error.code : 'Unclassified',
          reason: errorText(error),
          ...(error instanceof AgentError && error.hint !== undefined && { hint: error.hint }),
        },
        checkedAt: this.#clock.now(),
      }
    }
    this.#logChange(before)
    return this.#state
  }

  async #probe(): Promise<CheckpointAbility> {
    const ability = await probeCheckpointAbility(this.#runtime)
    this.#probedAt = performance.now()
    return ability
  }

  #logChange(before: RuntimeState): void {
    const { version, error, ability } = this.#state
    if (
      before.error === error &&
      before.ability.state === ability.state &&
      before.version?.version === version?.version
    )
      return
    const fields = { runtime: version, canCheckpoint: ability, error }
    if (error === undefined && ability.state === 'yes')
      this.#logger.info(fields, 'The container runtime answers and can checkpoint')
    else this.#logger.warn(fields, 'The container runtime cannot checkpoint now')
  }
}
