import type { OpenPlan } from '../../http/retention-services.ts'
import type { Policy } from '../../retention/policy.ts'

export interface OpenPlanRequest {
  /** Whether the caller will request pages of the archives to keep, which take time to prepare. */
  readonly withKept?: boolean
  /** Policy to use instead of the active one. */
  readonly policy?: Policy
  /** Space that is needed in addition to the free space of the disk. */
  readonly wantedBytes?: number
}

/** Computes which archives would be removed now, with the reasons. */
export interface Planner {
  readonly open: (order: OpenPlanRequest) => Promise<OpenPlan>
}
