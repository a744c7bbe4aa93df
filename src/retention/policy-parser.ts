import { ENGINES } from '../checkpoint/engine.ts'
import { IDENTITY_SOURCES } from '../checkpoint/identity.ts'
import { validate as isSchedule } from 'node-cron'
import { formatPercentage, parseDuration, parsePercentage, parseSize } from '../shared/quantity.ts'
import {
  SHIPPED_POLICY,
  SHIPPED_RULE,
  type DiskPolicy,
  type Keeps,
  type Limits,
  type Match,
  type Policy,
  type Rule,
  type Scope,
} from './policy.ts'
import { testFor } from './rules.ts'
import { isSection, SectionReader, type PolicyMistake } from './section-reader.ts'

export interface PolicyReading {
  /** Valid only if there are no mistakes. */
  readonly policy: Policy
  readonly mistakes: readonly PolicyMistake[]
}

const ROOT = 'retention'
/** Smallest value of `incompleteAfter` and `damagedAfter`. */
const LEAST_GRACE_MS = 600_000

/** Parses the `retention` section. Without one (`undefined`), the shipped policy applies. */
export function readPolicy(value: unknown): PolicyReading {
  if (value === undefined) return { policy: SHIPPED_POLICY, mistakes: [] }
  const mistakes: PolicyMistake[] = []
  const section = new SectionReader(value, ROOT, mistakes)
  const mayDeleteAll = section.value('allowDeleteEverything', readFlag) ?? false
  const shipped = SHIPPED_POLICY
  const policy: Policy = {
    schedule: section.value('schedule', readSchedule) ?? shipped.schedule,
    timeZone: section.value('timeZone', readTimeZone) ?? shipped.timeZone,
    rules: [...readRules(section, mayDeleteAll), SHIPPED_RULE],
    disk: section.section('disk', (disk) => readDisk(disk, mayDeleteAll)) ?? shipped.disk,
    incompleteAfterMs: section.value('incompleteAfter', readGrace) ?? shipped.incompleteAfterMs,
    damagedAfterMs: section.value('damagedAfter', readGrace) ?? shipped.damagedAfterMs,
    orphanGraceMs: section.value('orphanGrace', readHours) ?? shipped.orphanGraceMs,
  }
  section.end()
  const isEmpty = isSection(value) && Object.keys(value).length === 0
  if (isEmpty && !mayDeleteAll) section.mistake('', 'it is empty; leave it out, and the shipped policy holds')
  return { policy, mistakes }
}

function readRules(section: SectionReader, mayDeleteAll: boolean): Rule[] {
  const value = section.raw('rules')
  if (value === undefined) return []
  if (!Array.isArray(value)) {
    section.mistake('rules', 'it must be a list of rules')
    return []
  }
  if (value.length === 0 && !mayDeleteAll)
    section.mistake('rules', 'it is empty; leave it out, and the shipped rule holds')
  const seen = new Map<string, string>()
  return value.map((item: unknown, at) => {
    const before = section.mistakes.length
    const rule = new SectionReader(item, `${ROOT}.rules[${String(at)}]`, section.mistakes)
    const read = readRule(rule, at)
    rule.end()
    const isEmpty = !hasLimit(read.limits) && Object.keys(read.keeps).length === 0
    // A rule with a mistake may have been meant to keep or limit archives.
    if (isEmpty && section.mistakes.length === before)
      rule.mistake('', 'it says neither what to keep nor what to limit')
    if (!mayDeleteAll) refuseAllDeleting(rule, read)
    // The match of a rule with a mistake may be incomplete.
    if (section.mistakes.length === before) refuseSecond(rule, read, seen)
    return read
  })
}

function readRule(section: SectionReader, at: number): Rule {
  const match = section.section('match', readMatch) ?? {}
  const maxAgeMs = readOfOne(section, 'maxAge', readDays)
  const maxBytes = readOfOne(section, 'maxSize', parseSize)
  const orphansMs = section.value('orphans', readDays)
  const [last, hourly, daily, weekly] = ['keepLast', 'keepHourly', 'keepDaily', 'keepWeekly'].map((name) =>
    section.value(name, readPositive),
  )
  const withinMs = section.value('keepWithin', readSpan)
  const keeps: Keeps = {
    ...(last !== undefined && { last }),
    ...(hourly !== undefined && { hourly }),
    ...(daily !== undefined && { daily }),
    ...(weekly !== undefined && { weekly }),
    ...(withinMs !== undefined && { withinMs }),
  }
  const limits: Limits = {
    maxCount: readScoped(section, 'maxCount', readCount),
    maxTotalBytes: readScoped(section, 'maxTotalSize', parseSize),
    ...(maxAgeMs !== undefined && { maxAgeMs }),
    ...(maxBytes !== undefined && { maxBytes }),
    ...(orphansMs !== undefined && { orphansMs }),
  }
  return { name: nameOf(match, at), isShipped: false, match, limits, keeps }
}

const FIELDS = ['namespace', 'pod', 'workload', 'container', 'engine', 'identitySource'] as const
const KNOWN_VALUES: Readonly<Record<string, readonly string[]>> = {
  engine: ENGINES,
  identitySource: IDENTITY_SOURCES,
}

function readMatch(section: SectionReader): Match {
  const entries = FIELDS.map((field) => [field, section.value(field, (text) => readPattern(text, KNOWN_VALUES[field]))])
  return Object.fromEntries(entries.filter(([, pattern]) => pattern !== undefined)) as Match
}

function readPattern(text: string, known?: readonly string[]): string {
  if (text === '') throw new Error('it is empty; leave the key out to mean every one, or write "*"')
  if (known !== undefined && !known.some(testFor(text))) {
    throw new Error(`it must be one of ${known.join(', ')}, or a pattern with "*" for some of them`)
  }
  if (!/^[\w.*-]+$/.test(text)) throw new Error('it must be a name, in which "*" may stand for any text')
  return text
}

const SCOPE_KEYS: readonly (readonly [string, Scope])[] = [
  ['perContainer', 'container'],
  ['perPod', 'pod'],
  ['perWorkload', 'workload'],
  ['perWorkloadContainer', 'workloadContainer'],
  ['perNamespace', 'namespace'],
]

/**
 * Reads a limit with scopes. A plain value applies to one container of a workload, as keep rules
 * do.
 */
function readScoped(
  section: SectionReader,
  name: string,
  parse: (text: string) => number,
): Readonly<Partial<Record<Scope, number>>> {
  if (!isSection(section.raw(name))) {
    const value = section.value(name, parse)
    return value === undefined ? {} : { workloadContainer: value }
  }
  return (
    section.section(name, (scopes) => {
      const entries = SCOPE_KEYS.map(([key, scope]) => [scope, scopes.value(key, parse)])
      return Object.fromEntries(entries.filter(([, value]) => value !== undefined)) as Partial<Record<Scope, number>>
    }) ?? {}
  )
}

/**
 * Reads a limit of single archives, which is the same for every scope: the strictest value counts.
 */
function readOfOne(section: SectionReader, name: string, parse: (text: string) => number): number | undefined {
  const values = Object.values(readScoped(section, name, parse))
  return values.length === 0 ? undefined : Math.min(...values)
}

function readDisk(section: SectionReader, mayDeleteAll: boolean): DiskPolicy {
  const shipped = SHIPPED_POLICY.disk
  const given = section.value('highWatermark', parsePercentage)
  const highWatermark = given ?? shipped.highWatermark
  const lowWatermark =
    section.value('lowWatermark', parsePercentage) ??
    // Rounded to a percentage that can be written, so that the value survives a round trip through
    // text.
    parsePercentage(formatPercentage(Math.min(shipped.lowWatermark, Math.max(0, highWatermark - 0.1))))
  const minFreeBytes = section.value('minFree', parseSize) ?? shipped.minFreeBytes
  if (lowWatermark > highWatermark) section.mistake('lowWatermark', 'it must not be more than highWatermark')
  if (lowWatermark === 0 && !mayDeleteAll)
    section.mistake('lowWatermark', 'it would remove everything; write allowDeleteEverything: true if that is meant')
  return { highWatermark, lowWatermark, minFreeBytes }
}

/** Smallest possible archive: the end marker of a tar file alone. */
const LEAST_BYTES = 1024
/** Smallest `maxAge`. With less, archives would be gone before anyone could download them. */
const LEAST_AGE_MS = 60_000

/** Refuses limits that every archive exceeds, in a rule that keeps nothing. */
function refuseAllDeleting(section: SectionReader, { limits, keeps }: Rule): void {
  if (Object.keys(keeps).length > 0) return
  const { maxCount, maxTotalBytes, maxAgeMs = LEAST_AGE_MS, maxBytes = LEAST_BYTES } = limits
  const deleting: readonly (readonly [string, boolean])[] = [
    ['maxCount', Object.values(maxCount).includes(0)],
    ['maxTotalSize', Object.values(maxTotalBytes).some((bytes) => bytes < LEAST_BYTES)],
    ['maxAge', maxAgeMs < LEAST_AGE_MS],
    ['maxSize', maxBytes < LEAST_BYTES],
  ]
  for (const [name, isDeleting] of deleting) {
    if (isDeleting)
      section.mistake(name, 'it would remove everything; write allowDeleteEverything: true if that is meant')
  }
}

/**
 * Refuses two rules with the same match. Rules are not merged, so the second would have no effect.
 */
function refuseSecond(section: SectionReader, { match }: Rule, seen: Map<string, string>): void {
  const key = JSON.stringify(match)
  const first = seen.get(key)
  if (first === undefined) seen.set(key, section.path)
  else section.mistake('', `it is about the same as ${first}, which alone would count; write them as one rule`)
}

function hasLimit({ maxCount, maxTotalBytes, ...others }: Limits): boolean {
  return [maxCount, maxTotalBytes, others].some((limits) => Object.keys(limits).length > 0)
}

function nameOf(match: Match, at: number): string {
  const fields = FIELDS.flatMap((field) => (match[field] === undefined ? [] : [`${field} ${match[field]}`]))
  return `rule ${String(at + 1)}${fields.length === 0 ? '' : `: ${fields.join(', ')}`}`
}

function readFlag(text: string): boolean {
  if (text !== 'true' && text !== 'false') throw new Error('it must be true or false')
  return text === 'true'
}

function readDays(text: string): number {
  return parseDuration(text, 'd')
}

function readHours(text: string): number {
  return parseDuration(text, 'h')
}

/** Parses a grace period; an incomplete file may still be being written. */
function readGrace(text: string): number {
  const millis = readDays(text)
  if (millis < LEAST_GRACE_MS) throw new Error('it must be at least 10m: a file may stand still while it is written')
  return millis
}

function readSpan(text: string): number {
  const millis = readDays(text)
  if (millis === 0) throw new Error('it must be more than 0s; leave it out to keep nothing')
  return millis
}

function readCount(text: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new Error('it must be a whole number')
  return Number(text)
}

function readPositive(text: string): number {
  const count = readCount(text)
  if (count === 0) throw new Error('it must be at least 1; leave it out to keep nothing')
  return count
}

function readSchedule(text: string): string {
  if (text !== '' && !isSchedule(text))
    throw new Error('it must be a cron schedule of five fields, such as "*/10 * * * *", or ""')
  return text
}

function readTimeZone(text: string): string {
  try {
    return new Intl.DateTimeFormat('en', { timeZone: text }).resolvedOptions().timeZone
  } catch {
    throw new Error('it must be a time zone, such as "UTC" or "Europe/Berlin"')
  }
}
