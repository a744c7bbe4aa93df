import type { PlanHead, PlannedDisk, PlannedRemoval } from '../../retention/plan-types.ts'
import type { Policy } from '../../retention/policy.ts'

/** Request to the process that computes plans. */
export type PlanRequest = { readonly number: number } & (
  | {
      readonly kind: 'plan'
      readonly plan: number
      readonly policy: Policy
      readonly nowMillis: number
      readonly disk: PlannedDisk
      /** Whether the caller will request pages of the archives to keep. */
      readonly withKept?: boolean
      /** Archives that are being read, captured or verified. */
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
