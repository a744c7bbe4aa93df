/** What an archive must look like for a rule to be about it: exact names, or patterns in which `*` is any text. */
export interface Match {
  readonly namespace?: string
  readonly pod?: string
  /** The pod's name without what its ReplicaSet, StatefulSet, DaemonSet or Job put behind it. */
  readonly workload?: string
  readonly container?: string
  readonly engine?: string
  readonly identitySource?: string
}

export type MatchField = keyof Match

/**
 * Over what a number or a size is counted. `workloadContainer`, the one without a word in the file, is one container of
 * a workload over all of its pods.
 */
export type Scope = 'workloadContainer' | 'container' | 'pod' | 'workload' | 'namespace'

/** From narrow to wide: limits are applied in this order. */
export const SCOPES: readonly Scope[] = ['container', 'workloadContainer', 'pod', 'workload', 'namespace']

export interface Limits {
  readonly maxCount: Readonly<Partial<Record<Scope, number>>>
  readonly maxTotalBytes: Readonly<Partial<Record<Scope, number>>>
  readonly maxAgeMs?: number
  /** Of one archive. */
  readonly maxBytes?: number
  /** How long after its pod was seen to be gone. */
  readonly orphansMs?: number
}

/** Counted over one container of a workload, over all of its pods. */
export interface Keeps {
  readonly last?: number
  readonly hourly?: number
  readonly daily?: number
  readonly weekly?: number
  readonly withinMs?: number
}

export interface Rule {
  /** As people are told of it. */
  readonly name: string
  /** Nobody wrote it: `maxAge` and `orphans` of such a rule are stronger than what it keeps. */
  readonly isShipped: boolean
  readonly match: Match
  readonly limits: Limits
  readonly keeps: Keeps
}

export interface DiskPolicy {
  /** Parts of the disk that are in use: from the first on archives go, until it is the second. */
  readonly highWatermark: number
  readonly lowWatermark: number
  readonly minFreeBytes: number
}

export interface Policy {
  /** In five or six fields; empty: only when somebody asks. */
  readonly schedule: string
  readonly timeZone: string
  /** As they stand in the file, and the shipped one as the last. */
  readonly rules: readonly Rule[]
  readonly disk: DiskPolicy
  readonly incompleteAfterMs: number
  readonly damagedAfterMs: number
  /** A pod that is missing for less than this may be missing by mistake. */
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

/** Whether it says how many or how much of the scope may stay. */
export function isLimited({ limits }: Rule, scope: Scope): boolean {
  return limits.maxCount[scope] !== undefined || limits.maxTotalBytes[scope] !== undefined
}
