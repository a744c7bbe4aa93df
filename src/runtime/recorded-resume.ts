import { errorText } from '../shared/errors.ts'
import type { FreezeControl } from './freeze-control.ts'

/** What goes on record of a resume: that it is about to be tried, and how that ended. */
export interface ResumeEntry {
  readonly containerId: string
  /** Whose pause it was: `own`, left by a capture of this agent, or `foreign`. */
  readonly origin: 'own' | 'foreign'
  readonly outcome: 'intended' | 'done' | 'failed'
  /** Why the container counts as left frozen. */
  readonly reason: string
  readonly frozenMs: number
  readonly error?: string
  /** What else is known of the capture or the container. */
  readonly about?: Readonly<Record<string, unknown>>
}

/** Must return at once: a container is never kept frozen for the sake of an entry. */
export type RecordResume = (entry: ResumeEntry) => void

export interface RecordedResumeOptions extends Pick<ResumeEntry, 'containerId' | 'origin' | 'reason' | 'about'> {
  readonly control: Pick<FreezeControl, 'resume'>
  readonly record: RecordResume
}

/** Different failures of one resume that go on record; the log has the others. */
const MAX_ERRORS = 5

/** Resumes one container. Attempts that fail alike again and again are recorded once. */
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

  /** Throws when the container could not be resumed. */
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
