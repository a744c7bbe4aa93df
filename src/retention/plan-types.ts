import type { BlockedLimit } from '../checkpoint/sweep-report.ts'
import type { CheckpointState } from '../checkpoint/checkpoint.ts'
import type { Engine } from '../checkpoint/engine.ts'
import type { IdentitySource } from '../checkpoint/identity.ts'

/** What a plan knows of an archive. Texts are readable ones; what is not known is absent. */
export interface PlannedArchive {
  readonly id: string
  readonly fileName: string
  readonly generation: string
  readonly state: CheckpointState
  readonly identity: {
    readonly namespace?: string | undefined
    readonly pod?: string | undefined
    readonly podUid?: string | undefined
    readonly container?: string | undefined
    readonly source: IdentitySource
    /** Whether the archive belongs to `namespace`; any other is the node's alone. */
    readonly isTrusted: boolean
  }
  readonly engine: Engine
  readonly sizeBytes: number
  /** The runtime's word, held down to the file's time. */
  readonly takenAtMillis: number
  /** When the file was last written. */
  readonly modifiedAtMillis: number
  readonly isPinned: boolean
  /** Somebody reads it, or a capture or verification is at it. */
  readonly isInUse: boolean
  /** Since when its pod has been seen to be gone; absent: it is there, or nobody can say. */
  readonly orphanSinceMillis?: number | undefined
}

/** The file system of the archives. */
export interface PlannedDisk {
  readonly totalBytes: number
  readonly freeBytes: number
}

/** Why an archive goes, or stays. `rule` names it as the policy does: `default`, or the rule's own words. */
export interface Reason {
  readonly code: string
  readonly rule: string
  readonly text: string
}

export interface PlannedRemoval {
  readonly archive: PlannedArchive
  readonly reasons: readonly Reason[]
}

export interface Plan {
  /** Digest of the policy and of what would be removed, each with its generation. */
  readonly id: string
  /** In the order in which they go. */
  readonly remove: readonly PlannedRemoval[]
  readonly keep: readonly PlannedRemoval[]
  readonly blocked: readonly BlockedLimit[]
  /** Set where something else than archives fills the disk. */
  readonly diskNotOurs: boolean
  readonly totals: {
    readonly archives: number
    readonly bytes: number
    readonly removedArchives: number
    readonly removedBytes: number
  }
}

/** A plan without its lists: they can be long. */
export type PlanHead = Omit<Plan, 'remove' | 'keep'>
