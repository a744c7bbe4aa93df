import type { Problem } from './problem.ts'

/** The result of reading an archive from its first byte to its last and comparing it with what was recorded. */
export interface Verification {
  readonly sha256: string
  readonly sizeBytes: number
  readonly problems: readonly Problem[]
  /** Undefined where no digest had been recorded yet. */
  readonly index: 'same' | 'different' | undefined
  readonly custody: 'same' | 'different' | undefined
  /** Whole, free of damage, and as recorded everywhere. */
  readonly isIntact: boolean
}
