import type { Actor } from '../checkpoint/actor.ts'
import type { SweepReport } from '../checkpoint/sweep-report.ts'
import type { PlanHead, PlannedRemoval } from '../retention/plan-types.ts'
import type { WrittenPolicy } from '../retention/policy-writer.ts'

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
    readonly actor: Actor
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
  /** The policy in force, as `plan` accepts it. */
  readonly policy: WrittenPolicy
  /** Mistakes in the policy that was written after it and is not followed. */
  readonly mistakes: readonly string[]
  readonly isSweeping: boolean
  readonly nextSweepAt: Date | undefined
  readonly lastSweep: SweepReport | undefined
}

/** A plan that is being shown or carried out. */
export interface OpenPlan extends Disposable {
  readonly head: PlanHead
  /** In the order of the plan; fewer than `count` only at the end. */
  readonly page: (
    list: 'remove' | 'keep',
    place: { readonly skip: number; readonly count: number },
  ) => Promise<readonly PlannedRemoval[]>
}
