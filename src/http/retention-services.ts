import type { Actor } from '../checkpoint/actor.ts'
import type { SweepReport } from '../checkpoint/sweep-report.ts'
import type { PlanHead, PlannedRemoval } from '../retention/plan-types.ts'
import type { WrittenPolicy } from '../retention/policy-writer.ts'

/** Operations of retention. `agent/` provides them; tests pass plain functions. */
export interface RetentionServices {
  readonly status: () => RetentionStatus
  /**
   * Computes a plan, which the caller must dispose of; it includes kept archives on request. Throws InvalidInputError
   * (`InvalidPolicy`) or UnavailableError (`PlanFailed`).
   */
  readonly plan: (order: { readonly policy?: unknown; readonly withKept: boolean }) => Promise<OpenPlan>
  /**
   * Runs a sweep and resolves when it is done. Throws ConflictError (`SweepRunning`, `PlanChanged`) or UnavailableError
   * (`CustodyUnavailable`, `LocationNotWritable`, `PlanFailed`, `ShuttingDown`).
   */
  readonly sweep: (order: {
    readonly trigger: 'api'
    readonly actor: Actor
    readonly planId?: string
    /** Reason for the custody log. */
    readonly reason?: string
  }) => Promise<SweepReport>
  /** Lists sweep reports, newest first. */
  readonly history: (page: { readonly limit: number; readonly before?: string }) => {
    readonly reports: readonly SweepReport[]
    readonly remaining: number
  }
}

export interface RetentionStatus {
  /** The policy in force, as `plan` accepts it. */
  readonly policy: WrittenPolicy
  /** Mistakes in a newer policy that is therefore not in force. */
  readonly mistakes: readonly string[]
  readonly isSweeping: boolean
  readonly nextSweepAt: Date | undefined
  readonly lastSweep: SweepReport | undefined
}

/** A plan that is being displayed or executed. */
export interface OpenPlan extends Disposable {
  readonly head: PlanHead
  /** Returns archives in plan order; fewer than `count` only at the end. */
  readonly page: (
    list: 'remove' | 'keep',
    place: { readonly skip: number; readonly count: number },
  ) => Promise<readonly PlannedRemoval[]>
}
