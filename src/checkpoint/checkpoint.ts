import type { Engine } from './engine.ts'
import type { IdentitySource } from './identity.ts'
import type { Problem } from './problem.ts'

/**
 * `discovered`: seen, and perhaps still being written. `hashing`: whole, its digest is being made. `ready`: read to its
 * end once, with a recorded digest. `incomplete`: its end is missing. `damaged`: not to be trusted, the problems say why.
 */
export const CHECKPOINT_STATES = ['discovered', 'hashing', 'ready', 'incomplete', 'damaged'] as const

export type CheckpointState = (typeof CHECKPOINT_STATES)[number]

/** Texts are readable ones; what is not known is absent. */
export interface CheckpointIdentity {
  readonly namespace?: string
  readonly pod?: string
  readonly podUid?: string
  readonly container?: string
  readonly containerId?: string
  readonly source: IdentitySource
  /** Whether the archive belongs to `namespace`; any other is the node's alone. */
  readonly isTrusted: boolean
}

/** What the archive itself tells, beside whose it is. Times are RFC 3339 with all digits that the runtime gave. */
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
  /** How long the runtime took for a dump of ours; the container may have stood still for all of it. */
  readonly dumpMillis?: number
  /** The version of the reader that found it too expensive to read. */
  readonly givenUpBy?: number
}

export interface CheckpointPin {
  readonly by: 'manual' | 'operator' | 'us'
  readonly reason?: string
}

/** One archive and what is known of it. */
export interface Checkpoint {
  /** `checkpointId` of the name as it stands in the directory. */
  readonly id: string
  /** The name's bytes: it need not be UTF-8. */
  readonly rawName: Uint8Array
  readonly fileName: string
  /** Another inode, size or time of change is another generation: the same id, and all else may differ. */
  readonly generation: string
  readonly state: CheckpointState
  readonly problems: readonly Problem[]
  readonly identity: CheckpointIdentity
  readonly engine: Engine
  readonly sizeBytes: number
  /** The runtime's word, held down to the age of the file. */
  readonly takenAt: { readonly text: string; readonly millis: number }
  readonly discoveredAt: Date
  readonly sha256?: string
  /** Why it was taken, where this agent took it. */
  readonly reason?: string
  readonly pin?: CheckpointPin
  readonly summary: CheckpointSummary
}
