import type { Problem } from './problem.ts'

/** The result of reading a whole archive and comparing its digest with the recorded ones. */
export interface Verification {
  readonly sha256: string
  readonly sizeBytes: number
  readonly problems: readonly Problem[]
  /** Undefined if no digest had been recorded yet. */
  readonly index: 'same' | 'different' | undefined
  readonly custody: 'same' | 'different' | undefined
  /** True if the archive is complete, undamaged and equal to every recorded digest. */
  readonly isIntact: boolean
}
