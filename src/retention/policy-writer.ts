import { formatDuration, formatPercentage, formatSize } from '../shared/quantity.ts'
import { readPolicy } from './policy-parser.ts'
import type { Limits, Policy, Rule, Scope } from './policy.ts'

/** A policy in the form of the `retention` section. */
export type WrittenPolicy = Readonly<Record<string, unknown>>

/**
 * Serializes a policy so that `readPolicy` returns the same one. Omits the shipped rule, which
 * follows the rules of every policy. Includes `allowDeleteEverything` if the policy would be
 * refused without it.
 */
export function writePolicy(policy: Policy): WrittenPolicy {
  const { schedule, timeZone, disk, incompleteAfterMs, damagedAfterMs, orphanGraceMs } = policy
  const rules = policy.rules.filter(({ isShipped }) => !isShipped).map(writeRule)
  const written = {
    schedule,
    timeZone,
    ...(rules.length > 0 && { rules }),
    disk: {
      highWatermark: formatPercentage(disk.highWatermark),
      lowWatermark: formatPercentage(disk.lowWatermark),
      minFree: formatSize(disk.minFreeBytes),
    },
    incompleteAfter: formatDuration(incompleteAfterMs),
    damagedAfter: formatDuration(damagedAfterMs),
    orphanGrace: formatDuration(orphanGraceMs),
  }
  return readPolicy(written).mistakes.length === 0 ? written : { ...written, allowDeleteEverything: true }
}

function writeRule({ match, limits, keeps }: Rule): WrittenPolicy {
  const { last, hourly, daily, weekly, withinMs } = keeps
  return withoutAbsent({
    match: Object.keys(match).length > 0 ? { ...match } : undefined,
    keepLast: last,
    keepHourly: hourly,
    keepDaily: daily,
    keepWeekly: weekly,
    keepWithin: withinMs === undefined ? undefined : formatDuration(withinMs),
    ...writeLimits(limits),
  })
}

function writeLimits({ maxCount, maxTotalBytes, maxAgeMs, maxBytes, orphansMs }: Limits): WrittenPolicy {
  return {
    maxCount: writeScoped(maxCount, (count) => count),
    maxTotalSize: writeScoped(maxTotalBytes, formatSize),
    maxAge: maxAgeMs === undefined ? undefined : formatDuration(maxAgeMs),
    maxSize: maxBytes === undefined ? undefined : formatSize(maxBytes),
    orphans: orphansMs === undefined ? undefined : formatDuration(orphansMs),
  }
}

const KEY_OF_SCOPE: Readonly<Record<Scope, string>> = {
  container: 'perContainer',
  workloadContainer: 'perWorkloadContainer',
  pod: 'perPod',
  workload: 'perWorkload',
  namespace: 'perNamespace',
}

function writeScoped(
  limits: Readonly<Partial<Record<Scope, number>>>,
  write: (value: number) => number | string,
): object | undefined {
  const entries = Object.entries(limits) as [Scope, number][]
  if (entries.length === 0) return undefined
  return Object.fromEntries(entries.map(([scope, value]) => [KEY_OF_SCOPE[scope], write(value)]))
}

function withoutAbsent(fields: WrittenPolicy): WrittenPolicy {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined))
}
