import { formatDuration, formatSize } from '../shared/quantity.ts'
import type { Candidate, Candidates, Excess, Group } from './candidates.ts'
import type { Reason } from './plan-types.ts'
import { isLimited, SCOPES, type Policy, type Rule, type Scope } from './policy.ts'
import { reason } from './reasons.ts'

/**
 * Records which limits every archive exceeds and which archives are removed. Applies limits of
 * single archives first, then scoped limits from narrow to wide, so that archives that are removed
 * anyway do not displace others.
 */
export function applyLimits({ cases, groups }: Candidates, policy: Policy, nowMillis: number): void {
  const tests = new Map(policy.rules.map((rule) => [rule, ownTests(rule, policy, nowMillis)]))
  for (const one of cases) {
    if (one.place.rule === undefined || one.archive.state !== 'ready') continue
    for (const { isBeyond, excess } of tests.get(one.place.rule) ?? []) if (isBeyond(one)) note(one, excess)
  }
  for (const scope of SCOPES) {
    const rules = policy.rules.filter((rule) => isLimited(rule, scope))
    if (rules.length === 0) continue
    for (const group of groups.get(scope) ?? []) {
      for (const rule of rules) if (group.rules.includes(rule)) applyToGroup(group, scope, rule)
    }
  }
}

/**
 * Checks that no pin, reader or keep rule protects the archive; a strong limit overrides keep
 * rules.
 */
export function mayGo({ archive, kept }: Candidate, isStrong = false): boolean {
  return archive.state === 'ready' && !archive.isPinned && !archive.isInUse && (kept.length === 0 || isStrong)
}

interface OwnTest {
  readonly isBeyond: (one: Candidate) => boolean
  readonly excess: Excess
}

function ownTests({ limits, name, isShipped }: Rule, policy: Policy, nowMillis: number): OwnTest[] {
  const { maxAgeMs, maxBytes, orphansMs } = limits
  const tests: OwnTest[] = []
  const add = (code: string, value: string, isBeyond: OwnTest['isBeyond']) => {
    const why = reason(code, `${code} ${value}`, name)
    // Without this exception, the last archive of every workload would stay forever. Rules from the
    // policy always keep their archives.
    const isStrong = isShipped && code !== 'maxSize'
    tests.push({ isBeyond, excess: { reason: why, limit: why.text, isStrong } })
  }
  if (maxAgeMs !== undefined) {
    add('maxAge', formatDuration(maxAgeMs), ({ takenAtMillis }) => nowMillis - takenAtMillis > maxAgeMs)
  }
  if (maxBytes !== undefined) add('maxSize', formatSize(maxBytes), ({ archive }) => archive.sizeBytes > maxBytes)
  if (orphansMs !== undefined) {
    const afterMs = Math.max(orphansMs, policy.orphanGraceMs)
    add(
      'orphans',
      formatDuration(orphansMs),
      ({ archive }) => nowMillis - (archive.orphanSinceMillis ?? nowMillis) > afterMs,
    )
  }
  return tests
}

/**
 * Counts all archives of the group, including those under other rules, but removes only those under
 * this rule.
 */
function applyToGroup(group: Group, scope: Scope, rule: Rule): void {
  const count = rule.limits.maxCount[scope]
  const bytes = rule.limits.maxTotalBytes[scope]
  if (count !== undefined) {
    applyTotal(group, rule, { code: 'maxCount', scope, most: count, format: String, weigh: () => 1 })
  }
  if (bytes !== undefined) {
    applyTotal(group, rule, { code: 'maxTotalSize', scope, most: bytes, format: formatSize, weigh: bytesOf })
  }
}

function bytesOf({ archive }: Candidate): number {
  return archive.sizeBytes
}

interface TotalLimit {
  readonly code: 'maxCount' | 'maxTotalSize'
  readonly scope: Scope
  readonly most: number
  readonly format: (most: number) => string
  readonly weigh: (one: Candidate) => number
}

/**
 * Keeps the newest archives within the limit. Archives that this limit removes still count: of two
 * that exceed it together, the older one and all even older ones are removed. A stricter limit
 * therefore never keeps an archive that a laxer one removes.
 */
function applyTotal(group: Group, rule: Rule, { code, scope, most, format, weigh }: TotalLimit): void {
  let all = 0
  let staying = 0
  let excess: Excess | undefined
  for (const one of group.cases) {
    const weight = weigh(one)
    all += weight
    if (!one.goes) staying += weight
    if (one.place.rule !== rule || (one.goes ? all : staying) <= most) continue
    excess ??= countedExcess(reason(code, `${code} ${SCOPE_WORDS[scope]}${format(most)}`, rule.name), group)
    note(one, excess)
  }
}

function note(one: Candidate, excess: Excess): void {
  const mayItGo = mayGo(one, excess.isStrong)
  // A removed archive lists only the limits that remove it.
  if (one.goes && !mayItGo) return
  one.excesses = mayItGo && !one.goes ? [excess] : [...one.excesses, excess]
  one.goes ||= mayItGo
}

const SCOPE_WORDS: Readonly<Record<Scope, string>> = {
  workloadContainer: '',
  container: 'perContainer ',
  pod: 'perPod ',
  workload: 'perWorkload ',
  namespace: 'perNamespace ',
}

function countedExcess(why: Reason, { name }: Group): Excess {
  return { reason: why, limit: `${why.text} for ${name}`, isStrong: false }
}
