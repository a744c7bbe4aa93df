import { createHash } from 'node:crypto'
import type { PlannedRemoval } from './plan-types.ts'
import type { Policy } from './policy.ts'

/**
 * Computes the id of a plan. It changes with the policy, the archives to remove, and their
 * generations.
 */
export function planId(policy: Policy, remove: readonly PlannedRemoval[]): string {
  const hash = createHash('sha256').update(canonical(policy))
  hash.update(remove.map(({ archive }) => `\n${archive.id} ${archive.generation}`).join(''))
  return hash.digest('hex').slice(0, 32)
}

/** Serializes a value to JSON with sorted keys. */
function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map((item) => canonical(item)).join(',')}]`
  if (typeof value !== 'object' || value === null) return JSON.stringify(value) ?? 'null'
  const entries = Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1))
  return `{${entries.map(([key, item]) => `${JSON.stringify(key)}:${canonical(item)}`).join(',')}}`
}
