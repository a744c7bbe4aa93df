import type { PlanHead, PlannedDisk, PlannedRemoval } from '../../retention/plan-types.ts'
import type { Policy } from '../../retention/policy.ts'

/** What the process that plans is asked. */
export type PlanRequest = { readonly number: number } & (
  | {
      readonly kind: 'plan'
      readonly plan: number
      readonly policy: Policy
      readonly nowMillis: number
      readonly disk: PlannedDisk
      /** Whether pages of what is kept will be asked for. */
      readonly withKept?: boolean
      /** Read, captured or verified right now. */
      readonly inUse: readonly string[]
    }
  | {
      readonly kind: 'page'
      readonly plan: number
      readonly list: 'remove' | 'keep'
      readonly skip: number
      readonly count: number
    }
  | { readonly kind: 'close'; readonly plan: number }
)

export type PlanAnswer = { readonly number: number } & (
  | { readonly kind: 'head'; readonly head: PlanHead }
  | { readonly kind: 'page'; readonly page: readonly PlannedRemoval[] }
  | { readonly kind: 'closed' }
  | { readonly kind: 'failed'; readonly error: string }
)
