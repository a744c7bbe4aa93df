import type { Plan, PlannedRemoval } from '../../retention/plan-types.ts'
import type { Policy } from '../../retention/policy.ts'

/** A plan without its lists: they can be long. */
export type PlanHead = Omit<Plan, 'remove' | 'keep'>

export interface PlanOrder {
  /** Whether pages of what is kept will be asked for: they take time to prepare. */
  readonly withKept?: boolean
  /** Undefined: the policy in force. */
  readonly policy?: Policy
  /** This much more room is wanted than the disk has free. */
  readonly wantedBytes?: number
}

/** A plan that is being looked at or carried out. */
export interface OpenPlan extends Disposable {
  readonly head: PlanHead
  /** In the order of the plan; fewer than `count` only at the end. */
  readonly page: (
    list: 'remove' | 'keep',
    place: { readonly skip: number; readonly count: number },
  ) => Promise<readonly PlannedRemoval[]>
}

/** What would be removed now, and why. */
export interface Planner {
  readonly open: (order: PlanOrder) => Promise<OpenPlan>
}
