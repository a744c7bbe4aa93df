import type { Engine } from './engine.ts'
import type { IdentitySource } from './identity.ts'
import type { Problem } from './problem.ts'

/**
 * `discovered`: found, but possibly still being written. `hashing`: complete, and its digest is
 * being computed. `ready`: read to its end once, with a recorded digest. `incomplete`: its end is
 * missing. `damaged`: not trustworthy; the problems say why.
 */
export const CHECKPOINT_STATES = ['discovered', 'hashing', 'ready', 'incomplete', 'damaged'] as const

export type CheckpointState = (typeof CHECKPOINT_STATES)[number]

/**
 * The container that an archive belongs to. All texts are safe to display, and fields whose value
 * is unknown are omitted.
 */
export interface CheckpointIdentity {
  readonly namespace?: string
  readonly pod?: string
  readonly podUid?: string
  readonly container?: string
  readonly containerId?: string
  readonly source: IdentitySource
  /**
   * True if the archive belongs to `namespace`. Archives without a trusted identity belong to the
   * node.
   */
  readonly isTrusted: boolean
}

/**
 * Facts from the archive itself, apart from its identity. Times are RFC 3339 with all digits that
 * the runtime wrote.
 */
export interface CheckpointSummary {
  readonly kind: string
  readonly compression: string
  readonly image?: { readonly name?: string; readonly digest?: string; readonly id?: string }
  readonly runtime?: string
  readonly criuVersion?: string
  readonly createdAt?: string
  readonly startedAt?: string
  readonly memoryBytes?: number
  readonly rootfsDiffBytes?: number
  readonly processCount?: number
  readonly memberCount?: number
  readonly dumpStatistics?: Readonly<Record<string, number>>
  /** Duration of a dump by this agent; the container may have been frozen for all of it. */
  readonly dumpMillis?: number
  /** Version of the reader that stopped because the archive was too expensive to read. */
  readonly givenUpBy?: number
}

export interface CheckpointPin {
  readonly by: 'manual' | 'operator' | 'us'
  readonly reason?: string
}

/** One archive and everything known about it. */
export interface Checkpoint {
  /** `checkpointId` of the name in the directory. */
  readonly id: string
  /** The name's bytes, which need not be UTF-8. */
  readonly rawName: Uint8Array
  readonly fileName: string
  /**
   * Identifies the file by inode, size and modification time. If it differs, the same id stands for
   * a different file.
   */
  readonly generation: string
  readonly state: CheckpointState
  readonly problems: readonly Problem[]
  readonly identity: CheckpointIdentity
  readonly engine: Engine
  readonly sizeBytes: number
  /** The time that the runtime reported, but never later than the file's modification time. */
  readonly takenAt: { readonly text: string; readonly millis: number }
  readonly discoveredAt: Date
  readonly sha256?: string
  /** The reason given for the capture, if this agent made it. */
  readonly reason?: string
  readonly pin?: CheckpointPin
  readonly summary: CheckpointSummary
}
