import type { CaptureJob } from '../checkpoint/capture-job.ts'
import type { Checkpoint } from '../checkpoint/checkpoint.ts'
import type { Problem } from '../checkpoint/problem.ts'
import type { Actor } from '../checkpoint/actor.ts'

/** Each is in the custody log before it is answered. All throw ConflictError (`CheckpointChanged`) for another file. */
export interface CheckpointActions {
  /** With the checkpoint as it is then. Throws ConflictError (`PinManaged`). */
  readonly pin: (checkpoint: Checkpoint, order: ActionOrder) => Promise<Checkpoint>
  /** Throws ConflictError (`PinManaged`, `PinNotRecognized`). */
  readonly unpin: (checkpoint: Checkpoint, order: ActionOrder) => Promise<Checkpoint>
  /**
   * Those who ask for the same at once share one reading, which ends when the signals of all have aborted. Throws
   * UnavailableError (`TooManyInspections`) and CallerLeftError.
   */
  readonly verify: (
    checkpoint: Checkpoint,
    order: ActionOrder & { readonly signal: AbortSignal },
  ) => Promise<Verification>
  /** Throws ConflictError (`Pinned`, `InUse`, `BeingWritten`). */
  readonly remove: (checkpoint: Checkpoint, order: ActionOrder) => Promise<void>
}

interface ActionOrder {
  readonly actor: Actor
  /** Why, for the custody log. */
  readonly reason?: string
}

export interface Verification {
  readonly isIntact: boolean
  readonly sha256: string
  readonly sizeBytes: number
  readonly index: 'same' | 'different' | undefined
  readonly custody: 'same' | 'different' | undefined
  readonly problems: readonly Problem[]
}

/** What is known of the archives on this node. */
export interface CheckpointServices {
  /** The page after the cursor; `next` is undefined on the last one. */
  readonly list: (query: CheckpointListQuery) => CheckpointListPage | Promise<CheckpointListPage>
  /** Every namespace that an archive claims to be of. */
  readonly namespaces: () => readonly string[] | Promise<readonly string[]>
  /** Throws NotFoundError (`CheckpointNotFound`). */
  readonly get: (id: string) => Checkpoint | Promise<Checkpoint>
  /**
   * Reads the archive: a page that may end before its limit. Throws ConflictError (`CheckpointChanged`) where its file is
   * not that of this row any more, and UnavailableError (`TooManyInspections`). The signal aborts when nobody waits for the
   * answer any more.
   */
  readonly members: (
    checkpoint: Checkpoint,
    page: { readonly user: string; readonly skip: number; readonly limit: number; readonly signal: AbortSignal },
  ) => Promise<{
    readonly members: readonly CheckpointMember[]
    readonly remaining: number
    readonly problems: readonly Problem[]
  }>
  /**
   * Events after `lastEventId`, then live ones; without it live ones only. Where that event is not known any more,
   * `resync` comes first. `onEvent` may be called at once. Returns what ends it.
   */
  readonly watch: (lastEventId: string | undefined, onEvent: (event: NodeEvent) => void) => () => void
}

export interface CheckpointListPage {
  readonly items: readonly Checkpoint[]
  readonly remaining: number
  readonly next: CheckpointCursor | undefined
}

/** Every filter that is given must hold. */
export interface CheckpointListFilter {
  readonly namespace?: string
  readonly pod?: string
  readonly container?: string
  readonly podUid?: string
  readonly engine?: string
  readonly state?: string
  readonly identitySource?: string
  readonly pinned?: boolean
  /** Why it was taken or is pinned, word for word. */
  readonly reason?: string
  /** Exclusive. */
  readonly takenAfter?: Date
  /** Exclusive. */
  readonly takenBefore?: Date
  readonly minBytes?: number
  /** Only what belongs to one of these namespaces, or to any, and does not merely claim to. */
  readonly belongsTo?: 'any' | readonly string[]
}

export interface CheckpointListQuery {
  readonly filter: CheckpointListFilter
  readonly order: {
    readonly key: 'takenAt' | 'discoveredAt' | 'sizeBytes' | 'fileName'
    readonly isDescending: boolean
  }
  readonly after?: CheckpointCursor
  readonly limit: number
}

/** The last row of a page: what it is sorted by, and its id. */
export interface CheckpointCursor {
  readonly value: string | number
  readonly id: string
}

export interface CheckpointMember {
  readonly name: string
  readonly type: string
  readonly sizeBytes: number
  readonly offset: number
  readonly modifiedSeconds: number
  readonly modifiedNanos: number
  readonly linkName?: string
}

export interface NodeEvent {
  /** A single line. */
  readonly id: string
  /** `resync`: events were lost, the list has to be read anew. */
  readonly type: 'added' | 'changed' | 'removed' | 'capture' | 'resync'
  readonly checkpoint?: Checkpoint
  readonly checkpointId?: string
  /** The one that the removed checkpoint belonged to. */
  readonly namespace?: string
  readonly job?: CaptureJob
}
