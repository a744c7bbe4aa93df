import type { OpenPlan } from '../../http/retention-services.ts'
import type { Policy } from '../../retention/policy.ts'

export interface OpenPlanRequest {
  /** Whether pages of what is kept will be asked for: they take time to prepare. */
  readonly withKept?: boolean
  /** Undefined: the policy in force. */
  readonly policy?: Policy
  /** This much more room is wanted than the disk has free. */
  readonly wantedBytes?: number
}

/** What would be removed now, and why. */
export interface Planner {
  readonly open: (order: OpenPlanRequest) => Promise<OpenPlan>
}
