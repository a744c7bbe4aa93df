import { formatSize } from '../shared/quantity.ts'
import type { PlannedArchive } from './plan-types.ts'
import type { Policy } from './policy.ts'
import { RuleBook } from './rules.ts'

export interface Newcomer {
  readonly namespace: string
  readonly pod: string
  readonly container: string
  readonly engine: PlannedArchive['engine']
  /** As far as one can tell before it is taken. */
  readonly sizeBytes: number
}

/**
 * Why an archive of this size would be removed again as soon as it is there; undefined where it may stay. The newest are
 * within a limit, so only one that is beyond it all by itself would go, and what a rule keeps does not.
 */
export function refusalOf({ sizeBytes, engine, ...identity }: Newcomer, policy: Policy): string | undefined {
  const rule = new RuleBook(policy.rules).ruleOf({
    id: '',
    fileName: '',
    generation: '',
    state: 'ready',
    identity: { ...identity, source: 'observed', isTrusted: true },
    engine,
    sizeBytes,
    takenAtMillis: 0,
    modifiedAtMillis: 0,
    isPinned: false,
    isInUse: false,
  })
  if (rule === undefined) return undefined
  const { last = 0, hourly = 0, daily = 0, weekly = 0, withinMs = 0 } = rule.keeps
  if (last + hourly + daily + weekly + withinMs > 0) return undefined
  const { maxBytes, maxTotalBytes } = rule.limits
  const limits = [maxBytes, ...Object.values(maxTotalBytes)].filter((limit) => limit !== undefined)
  const tightest = Math.min(...limits)
  return sizeBytes > tightest
    ? `it may have ${formatSize(sizeBytes)}, and ${rule.name} removes what is beyond ${formatSize(tightest)}`
    : undefined
}
