import type { BlockedLimit } from '../checkpoint/sweep-report.ts'
import type { CheckpointState } from '../checkpoint/checkpoint.ts'
import type { Engine } from '../checkpoint/engine.ts'
import type { IdentitySource } from '../checkpoint/identity.ts'

/**
 * An archive as a plan sees it. All texts are safe to display, and fields whose value is unknown
 * are omitted.
 */
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
    /**
     * True if the archive belongs to `namespace`. Archives without a trusted identity belong to the
     * node.
     */
    readonly isTrusted: boolean
  }
  readonly engine: Engine
  readonly sizeBytes: number
  /** The time that the runtime reported, but never later than the file's modification time. */
  readonly takenAtMillis: number
  /** Modification time of the file. */
  readonly modifiedAtMillis: number
  readonly isPinned: boolean
  /** True while the archive is being read, captured or verified. */
  readonly isInUse: boolean
  /**
   * Time since which its pod is known to be gone; absent if the pod exists or its state is unknown.
   */
  readonly orphanSinceMillis?: number | undefined
}

/** The file system of the archives. */
export interface PlannedDisk {
  readonly totalBytes: number
  readonly freeBytes: number
}

/** The reason why an archive is removed or stays. `rule` names the rule, such as `default`. */
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
  /** Digest of the policy and of the archives to remove with their generations. */
  readonly id: string
  /** In the order of removal. */
  readonly remove: readonly PlannedRemoval[]
  readonly keep: readonly PlannedRemoval[]
  readonly blocked: readonly BlockedLimit[]
  /** True if other files than archives fill the disk. */
  readonly diskNotOurs: boolean
  readonly totals: {
    readonly archives: number
    readonly bytes: number
    readonly removedArchives: number
    readonly removedBytes: number
  }
}

/** A plan without its lists, which can be long. */
export type PlanHead = Omit<Plan, 'remove' | 'keep'>
