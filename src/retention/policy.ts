/**
 * Conditions under which a rule applies to an archive: exact names, or patterns in which `*` stands
 * for any text.
 */
export interface Match {
  readonly namespace?: string
  readonly pod?: string
  /** Name of the pod without the suffix added by its ReplicaSet, StatefulSet, DaemonSet or Job. */
  readonly workload?: string
  readonly container?: string
  readonly engine?: string
  readonly identitySource?: string
}

export type MatchField = keyof Match

/**
 * Group over which a limit counts. `workloadContainer`, the default, is one container of a workload
 * across all of its pods.
 */
export type Scope = 'workloadContainer' | 'container' | 'pod' | 'workload' | 'namespace'

/** Scopes from narrow to wide, the order in which limits apply. */
export const SCOPES: readonly Scope[] = ['container', 'workloadContainer', 'pod', 'workload', 'namespace']

export interface Limits {
  readonly maxCount: Readonly<Partial<Record<Scope, number>>>
  readonly maxTotalBytes: Readonly<Partial<Record<Scope, number>>>
  readonly maxAgeMs?: number
  /** Largest size of a single archive. */
  readonly maxBytes?: number
  /** Time after which archives of a missing pod are removed. */
  readonly orphansMs?: number
}

/** Archives to keep, counted over one container of a workload across all of its pods. */
export interface Keeps {
  readonly last?: number
  readonly hourly?: number
  readonly daily?: number
  readonly weekly?: number
  readonly withinMs?: number
}

export interface Rule {
  /** Name for messages. */
  readonly name: string
  /**
   * True for the built-in rule, whose `maxAge` and `orphans` also remove archives that it keeps.
   */
  readonly isShipped: boolean
  readonly match: Match
  readonly limits: Limits
  readonly keeps: Keeps
}

export interface DiskPolicy {
  /** Fractions of the disk in use: cleanup starts above the first and stops at the second. */
  readonly highWatermark: number
  readonly lowWatermark: number
  readonly minFreeBytes: number
}

export interface Policy {
  /** Cron schedule of five or six fields; empty to run only on request. */
  readonly schedule: string
  readonly timeZone: string
  /** Rules in the order of the file, followed by the shipped one. */
  readonly rules: readonly Rule[]
  readonly disk: DiskPolicy
  readonly incompleteAfterMs: number
  readonly damagedAfterMs: number
  /** Shortest time for which a pod must be missing; it may be missing by mistake for less. */
  readonly orphanGraceMs: number
}

const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS

export const SHIPPED_RULE: Rule = {
  name: 'default',
  isShipped: true,
  match: {},
  limits: {
    maxCount: { workloadContainer: 10 },
    maxTotalBytes: {},
    maxAgeMs: 30 * DAY_MS,
    orphansMs: 7 * DAY_MS,
  },
  keeps: { last: 1 },
}

export const SHIPPED_POLICY: Policy = {
  schedule: '*/10 * * * *',
  timeZone: 'UTC',
  rules: [SHIPPED_RULE],
  disk: { highWatermark: 0.85, lowWatermark: 0.75, minFreeBytes: 0 },
  incompleteAfterMs: DAY_MS,
  damagedAfterMs: 7 * DAY_MS,
  orphanGraceMs: HOUR_MS,
}

/** Checks whether the rule limits the number or total size of archives in this scope. */
export function isLimited({ limits }: Rule, scope: Scope): boolean {
  return limits.maxCount[scope] !== undefined || limits.maxTotalBytes[scope] !== undefined
}
