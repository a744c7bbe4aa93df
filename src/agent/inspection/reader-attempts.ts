import { setTimeout as sleep } from 'node:timers/promises'
import { problemOfExpense, type Expense } from './too-expensive.ts'
import { ReaderEndedError } from './reader-child.ts'
import { FIRST_PAUSE_MS, MAX_INTERRUPTIONS, MAX_PAUSE_MS } from './reader-limits.ts'
import type { Problem } from '../../checkpoint/problem.ts'

/** Next step after a reader ended while it read an archive. */
export type NextStep =
  | { readonly kind: 'again' }
  | { readonly kind: 'too-expensive'; readonly problem: Problem }
  | { readonly kind: 'give-up' }

export interface AttemptsOptions {
  /** Maximum number of new attempts after ends that were not caused by the archive. */
  readonly maxInterruptions: number
}

/**
 * Number of ends that the archive must cause. A single one may be a coincidence or the effect of another archive's
 * memory.
 */
const MAX_STRIKES = 2

/** Counts the attempts to read one archive and the cause of each reader's end. */
export class Attempts {
  readonly #maxInterruptions: number
  #strikes = 0
  #interruptions = 0
  #timesWithoutRoom = 0

  constructor({ maxInterruptions }: AttemptsOptions) {
    this.#maxInterruptions = maxInterruptions
  }

  /** Counts the end of a reader and returns the next step. Throws all other errors again. */
  async note(error: unknown): Promise<NextStep> {
    if (!(error instanceof ReaderEndedError) || error.end === 'closed') throw error
    if (isExpense(error.end)) {
      this.#strikes += 1
      if (this.#strikes < MAX_STRIKES) return { kind: 'again' }
      return { kind: 'too-expensive', problem: problemOfExpense(error.end) }
    }
    this.#interruptions += 1
    if (error.end === 'room') this.#timesWithoutRoom += 1
    if (this.#timesWithoutRoom > MAX_INTERRUPTIONS)
      return { kind: 'too-expensive', problem: problemOfExpense('memory') }
    if (this.#interruptions > this.#maxInterruptions) return { kind: 'give-up' }
    await sleep(Math.min(MAX_PAUSE_MS, FIRST_PAUSE_MS * 2 ** (this.#interruptions - 1)))
    return { kind: 'again' }
  }
}

function isExpense(end: ReaderEndedError['end']): end is Expense {
  return end === 'memory' || end === 'cpu' || end === 'itself'
}
