import type { TarMember } from '../archive/tar-member.ts'
import type { Checkpoint } from '../checkpoint/checkpoint.ts'
import type { NodeEvent } from '../checkpoint/node-event.ts'
import type { Problem } from '../checkpoint/problem.ts'
import type { Actor } from '../checkpoint/actor.ts'
import type { Verification } from '../checkpoint/verification.ts'
import type { CheckpointPage, CheckpointQuery } from '../store/checkpoint-query.ts'

/** Each is in the custody log before it is answered. All throw ConflictError (`CheckpointChanged`) for another file. */
export interface CheckpointActions {
  /** With the checkpoint as it is then. Throws ConflictError (`PinManaged`). */
  readonly pin: (checkpoint: Checkpoint, order: ActionRequest) => Promise<Checkpoint>
  /** Throws ConflictError (`PinManaged`, `PinNotRecognized`). */
  readonly unpin: (checkpoint: Checkpoint, order: ActionRequest) => Promise<Checkpoint>
  /**
   * Those who ask for the same at once share one reading, which ends when the signals of all have aborted. Throws
   * UnavailableError (`TooManyInspections`) and CallerLeftError.
   */
  readonly verify: (
    checkpoint: Checkpoint,
    order: ActionRequest & { readonly signal: AbortSignal },
  ) => Promise<Verification>
  /** Throws ConflictError (`Pinned`, `InUse`, `BeingWritten`). */
  readonly remove: (checkpoint: Checkpoint, order: ActionRequest) => Promise<void>
}

export interface ActionRequest {
  readonly actor: Actor
  /** Why, for the custody log. */
  readonly reason?: string
}

/** What is known of the archives on this node. */
export interface CheckpointServices {
  /** The page after the cursor; `next` is undefined on the last one. */
  readonly list: (query: CheckpointQuery) => CheckpointPage | Promise<CheckpointPage>
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
    readonly members: readonly TarMember[]
    readonly remaining: number
    readonly problems: readonly Problem[]
  }>
  /**
   * Events after `lastEventId`, then live ones; without it live ones only. Where that event is not known any more,
   * `resync` comes first. `onEvent` may be called at once. Returns what ends it.
   */
  readonly watch: (lastEventId: string | undefined, onEvent: (event: NodeEvent) => void) => () => void
}
