/** What retention does and would do. `agent/` provides it; tests pass plain functions. */
export interface RetentionServices {
  readonly status: () => RetentionStatus
  /**
   * To be disposed of; has pages of what is kept where they were wanted. Throws InvalidInputError (`InvalidPolicy`),
   * UnavailableError (`PlanFailed`).
   */
  readonly plan: (order: { readonly policy?: unknown; readonly withKept: boolean }) => Promise<OpenPlan>
  /**
   * Resolves when it is over. Throws ConflictError (`SweepRunning`, `PlanChanged`), UnavailableError
   * (`CustodyUnavailable`, `LocationNotWritable`, `PlanFailed`, `ShuttingDown`).
   */
  readonly sweep: (order: {
    readonly trigger: 'api'
    readonly actor: {
      readonly user: string
      readonly groups: readonly string[]
      readonly address?: string
      readonly requestId?: string
    }
    readonly planId?: string
    /** Why, for the custody log. */
    readonly reason?: string
  }) => Promise<SweepReport>
  /** Newest first. */
  readonly history: (page: { readonly limit: number; readonly before?: string }) => {
    readonly reports: readonly SweepReport[]
    readonly remaining: number
  }
}

export interface RetentionStatus {
  readonly policy: object
  readonly mistakes: readonly string[]
  readonly isSweeping: boolean
  readonly nextSweepAt: Date | undefined
  readonly lastSweep: SweepReport | undefined
}

export interface OpenPlan extends Disposable {
  readonly head: {
    readonly id: string
    readonly blocked: readonly Blocked[]
    readonly diskNotOurs: boolean
    readonly totals: {
      readonly archives: number
      readonly bytes: number
      readonly removedArchives: number
      readonly removedBytes: number
    }
  }
  readonly page: (
    list: 'remove' | 'keep',
    place: { readonly skip: number; readonly count: number },
  ) => Promise<readonly PlannedArchive[]>
}

export interface PlannedArchive {
  readonly archive: {
    readonly id: string
    readonly fileName: string
    readonly state: string
    readonly sizeBytes: number
    readonly takenAtMillis: number
    readonly identity: {
      readonly namespace?: string | undefined
      readonly pod?: string | undefined
      readonly container?: string | undefined
    }
  }
  readonly reasons: readonly { readonly code: string; readonly text: string }[]
}

interface Blocked {
  readonly limit: string
  readonly overBytes: number
  readonly overCount: number
  readonly by: readonly { readonly id: string; readonly fileName: string; readonly why: 'pinned' | 'inUse' | 'kept' }[]
}

interface Left {
  readonly count: number
  readonly archives: readonly {
    readonly id: string
    readonly fileName: string
    readonly code: string
    readonly reason: string
  }[]
}

export interface SweepReport {
  readonly id: string
  readonly startedAt: string
  readonly millis: number
  readonly trigger: 'schedule' | 'disk' | 'capture' | 'api'
  readonly user: string
  readonly planId: string
  readonly outcome: 'done' | 'stopped' | 'failed'
  readonly error?: { readonly code: string; readonly detail: string }
  readonly removed: { readonly count: number; readonly bytes: number }
  readonly byRule: Readonly<Record<string, { readonly count: number; readonly bytes: number }>>
  readonly failed: Left
  readonly skipped: Left
  readonly blocked: readonly Blocked[]
  readonly diskNotOurs: boolean
}
