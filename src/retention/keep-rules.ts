import { formatDuration } from '../shared/quantity.ts'
import type { Candidates, Group } from './candidates.ts'
import type { Reason } from './plan-types.ts'
import type { Rule } from './policy.ts'
import { reason } from './reasons.ts'

const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS
const WEEK_MS = 7 * DAY_MS
/** Offset of weeks: 1 January 1970 was a Thursday, and weeks begin on Monday. */
const MONDAY_MS = 3 * DAY_MS

/**
 * Marks the archives that rules keep. Every rule counts only its own archives of a workload's
 * container: an archive that another rule may remove must not count as the last one of this rule.
 */
export function markKept({ groups }: Candidates, nowMillis: number): void {
  const keepersByRule = new Map<Rule, readonly Keeper[]>()
  for (const group of groups.get('workloadContainer') ?? []) {
    for (const rule of group.rules) {
      const keepers = keepersByRule.get(rule) ?? keepersOf(rule, nowMillis)
      keepersByRule.set(rule, keepers)
      if (keepers.length > 0) markKeptOf(group, rule, keepers)
    }
  }
}

function markKeptOf({ cases }: Group, rule: Rule, keepers: readonly Keeper[]): void {
  const asked = keepers.map(({ begin, why }) => ({ keeps: begin(), why }))
  for (const one of cases) {
    if (one.place.rule !== rule) continue
    // Every keeper must see the archive, even if another one keeps it already.
    for (const { keeps, why } of asked) {
      if (keeps(one.takenAtMillis)) one.kept = one.kept.length === 0 ? why : [...one.kept, ...why]
    }
  }
}

interface Keeper {
  /** A list with one reason, shared by all archives that it keeps. */
  readonly why: readonly Reason[]
  /** Returns a new counter. Call it with the archives in order, newest first. */
  readonly begin: () => Keeps
}

type Keeps = (takenAtMillis: number) => boolean

function keepersOf({ keeps, name }: Rule, nowMillis: number): Keeper[] {
  const { last, hourly, daily, weekly, withinMs } = keeps
  const keepers: Keeper[] = []
  const add = (text: string, begin: Keeper['begin']) => keepers.push({ why: [reason('kept', text, name)], begin })
  if (last !== undefined) add(`keepLast ${last}`, () => newest(last))
  if (hourly !== undefined) add(`keepHourly ${hourly}`, () => newestOfEach(HOUR_MS, hourly))
  if (daily !== undefined) add(`keepDaily ${daily}`, () => newestOfEach(DAY_MS, daily))
  if (weekly !== undefined) add(`keepWeekly ${weekly}`, () => newestOfEach(WEEK_MS, weekly, MONDAY_MS))
  if (withinMs !== undefined) {
    add(`keepWithin ${formatDuration(withinMs)}`, () => (takenAtMillis) => nowMillis - takenAtMillis <= withinMs)
  }
  return keepers
}

function newest(count: number): Keeps {
  let left = count
  return () => left-- > 0
}

/** Keeps the newest archive of each of the last `count` time spans (in UTC) that have one. */
function newestOfEach(spanMs: number, count: number, offsetMs = 0): Keeps {
  let left = count
  let current: number | undefined
  return (takenAtMillis) => {
    const span = Math.floor((takenAtMillis + offsetMs) / spanMs)
    if (span === current) return false
    current = span
    return left-- > 0
  }
}
