import { errorText } from '../shared/errors.ts'
import type { FreezeControl } from './freeze-control.ts'

/** A custody record of a resume: before the attempt, or with its result. */
export interface ResumeEntry {
  readonly containerId: string
  /** `own` if a capture of this agent left the pause, otherwise `foreign`. */
  readonly origin: 'own' | 'foreign'
  readonly outcome: 'intended' | 'done' | 'failed'
  /** Reason why the container counts as left frozen. */
  readonly reason: string
  readonly frozenMs: number
  readonly error?: string
  /** Further facts about the capture or the container. */
  readonly about?: Readonly<Record<string, unknown>>
}

/**
 * Records a resume. Must return immediately, so that no container stays frozen because of a record.
 */
export type RecordResume = (entry: ResumeEntry) => void

export interface RecordedResumeOptions extends Pick<ResumeEntry, 'containerId' | 'origin' | 'reason' | 'about'> {
  readonly control: Pick<FreezeControl, 'resume'>
  readonly record: RecordResume
}

/** Different failures recorded per resume; the log contains the others. */
const MAX_ERRORS = 5

/** Resumes one container. Records repeated failures with the same text only once. */
export class RecordedResume {
  readonly #options: RecordedResumeOptions
  #attempts = 0
  readonly #errors = new Set<string>()

  constructor(options: RecordedResumeOptions) {
    this.#options = options
  }

  get wasTried(): boolean {
    return this.#attempts > 0
  }

  /** Resumes the container; throws if that fails. */
  async attempt(frozenMs: number): Promise<void> {
    const { control, containerId } = this.#options
    this.#attempts += 1
    if (this.#attempts === 1) this.#record('intended', frozenMs)
    try {
      await control.resume(containerId)
    } catch (error) {
      const text = errorText(error)
      if (!this.#errors.has(text) && this.#errors.size < MAX_ERRORS) this.#record('failed', frozenMs, text)
      this.#errors.add(text)
      throw error
    }
    this.#record('done', frozenMs)
  }

  #record(outcome: ResumeEntry['outcome'], frozenMs: number, error?: string): void {
    const { containerId, origin, reason, about, record } = this.#options
    record({
      containerId,
      origin,
      outcome,
      reason,
      frozenMs: Math.round(frozenMs),
      ...(error !== undefined && { error }),
      ...(about !== undefined && { about }),
    })
  }
}
