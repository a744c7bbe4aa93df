import { formatSize } from '../shared/quantity.ts'
import type { PlannedArchive } from './plan-types.ts'
import type { Policy } from './policy.ts'
import { RuleBook } from './rules.ts'

export interface Newcomer {
  readonly namespace: string
  readonly pod: string
  readonly container: string
  readonly engine: PlannedArchive['engine']
  /** Expected size, since the archive does not exist yet. */
  readonly sizeBytes: number
}

/**
 * Explains why the next sweep would remove an archive of this size; undefined if it would stay.
 * Limits spare the newest archives, so only an archive larger than a limit by itself is removed,
 * and only if no rule keeps it.
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
