export type SweepTrigger = 'schedule' | 'disk' | 'capture' | 'api'

/** An archive that the plan listed and the sweep did not remove. */
export interface LeftArchive {
  readonly id: string
  readonly fileName: string
  /**
   * `PruneFailed`: the file system refused the removal. Other codes: the archive changed after the
   * plan was made.
   */
  readonly code: string
  readonly reason: string
}

export interface Count {
  readonly count: number
  readonly bytes: number
}

/** The result of one sweep; stored as JSON. */
export interface SweepReport {
  readonly id: string
  readonly startedAt: string
  readonly millis: number
  readonly trigger: SweepTrigger
  readonly user: string
  readonly planId: string
  /** `stopped`: the next sweep removes the rest. */
  readonly outcome: 'done' | 'stopped' | 'failed'
  readonly error?: { readonly code: string; readonly detail: string }
  readonly removed: Count
  readonly byRule: Readonly<Record<string, Count>>
  readonly failed: { readonly count: number; readonly archives: readonly LeftArchive[] }
  readonly skipped: { readonly count: number; readonly archives: readonly LeftArchive[] }
  readonly blocked: readonly BlockedLimit[]
  readonly diskNotOurs: boolean
}

/** A limit that cannot be reached, and the archives that block it. */
export interface BlockedLimit {
  readonly limit: string
  readonly overBytes: number
  readonly overCount: number
  readonly by: readonly { readonly id: string; readonly fileName: string; readonly why: 'pinned' | 'inUse' | 'kept' }[]
}
