import type { TarMember } from '../archive/tar-member.ts'
import type { Checkpoint } from '../checkpoint/checkpoint.ts'
import type { NodeEvent } from '../checkpoint/node-event.ts'
import type { Problem } from '../checkpoint/problem.ts'
import type { Actor } from '../checkpoint/actor.ts'
import type { Verification } from '../checkpoint/verification.ts'
import type { CheckpointPage, CheckpointQuery } from '../store/checkpoint-query.ts'

/**
 * Actions on a checkpoint, each recorded in the custody log before it returns. All throw ConflictError
 * (`CheckpointChanged`) if the file was replaced.
 */
export interface CheckpointActions {
  /** Pins the checkpoint and returns its new state. Throws ConflictError (`PinManaged`). */
  readonly pin: (checkpoint: Checkpoint, order: ActionRequest) => Promise<Checkpoint>
  /** Unpins the checkpoint and returns its new state. Throws ConflictError (`PinManaged`, `PinNotRecognized`). */
  readonly unpin: (checkpoint: Checkpoint, order: ActionRequest) => Promise<Checkpoint>
  /**
   * Verifies the archive. Concurrent requests for the same archive share one read, which stops when all their signals
   * have aborted. Throws UnavailableError (`TooManyInspections`) or CallerLeftError.
   */
  readonly verify: (
    checkpoint: Checkpoint,
    order: ActionRequest & { readonly signal: AbortSignal },
  ) => Promise<Verification>
  /** Removes the archive. Throws ConflictError (`Pinned`, `InUse`, `BeingWritten`). */
  readonly remove: (checkpoint: Checkpoint, order: ActionRequest) => Promise<void>
}

export interface ActionRequest {
  readonly actor: Actor
  /** Reason for the custody log. */
  readonly reason?: string
}

/** The inventory of archives on this node. */
export interface CheckpointServices {
  /** Returns the page after the cursor; `next` is undefined on the last page. */
  readonly list: (query: CheckpointQuery) => CheckpointPage | Promise<CheckpointPage>
  /** Lists the namespaces that archives claim to belong to. */
  readonly namespaces: () => readonly string[] | Promise<readonly string[]>
  /** Returns the checkpoint. Throws NotFoundError (`CheckpointNotFound`). */
  readonly get: (id: string) => Checkpoint | Promise<Checkpoint>
  /**
   * Reads a page of members from the archive; a page may be shorter than its limit. Throws ConflictError
   * (`CheckpointChanged`) if the file was replaced, and UnavailableError (`TooManyInspections`). The signal aborts when
   * the client has disconnected.
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
   * Delivers the events after `lastEventId`, then live events; without an id, live events only. If the event is no
   * longer known, `resync` comes first. `onEvent` may be called synchronously. Returns a function that ends the
   * subscription.
   */
  readonly watch: (lastEventId: string | undefined, onEvent: (event: NodeEvent) => void) => () => void
}
