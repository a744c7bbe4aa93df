import type { RootfsDiff } from '../archive/rootfs-diff.ts'
import type { Checkpoint } from '../checkpoint/checkpoint.ts'
import type { ByteSink } from '../streams/byte-sink.ts'
import type { Actor } from '../checkpoint/actor.ts'

/** Access to the content of archives. Callers must close all content that they open. */
export interface ContentServices {
  /**
   * Opens an archive for download. Throws ConflictError (`ArchiveIncomplete`, `CheckpointChanged`, `NotReadable`),
   * UnavailableError (`TooManyDownloads`), InvalidInputError (`InvalidRecipient`, `TooManyRecipients`) or
   * NotAllowedError (`EncryptionRequired`, `RecipientNotAllowed`).
   */
  readonly openArchive: (checkpoint: Checkpoint, request: EncryptableRequest) => Promise<OpenContent>
  /**
   * Opens the member with this name from the member list. Throws the errors of `openArchive`, and UnavailableError
   * (`TooManyInspections`), NotFoundError (`MemberNotFound`) or ConflictError (`NotAFile`).
   */
  readonly openMember: (
    checkpoint: Checkpoint,
    request: EncryptableRequest & { readonly member: string },
  ) => Promise<OpenContent>
  /**
   * Reads a page of the root filesystem diff, which is never encrypted. Throws the errors of `openArchive`, but
   * UnavailableError with `TooManyInspections`.
   */
  readonly readRootfsDiff: (
    checkpoint: Checkpoint,
    request: ContentRequest & {
      readonly skip: number
      readonly limit: number
      /** Set for HEAD: no content is sent, so nothing is recorded. */
      readonly isHeadOnly?: boolean
    },
  ) => Promise<RootfsDiffPage>
}

export interface ContentRequest {
  readonly actor: Actor
  /** Accepts incomplete archives too. */
  readonly acceptsIncomplete: boolean
  /** Aborts when the client has disconnected. */
  readonly signal: AbortSignal
}

export interface EncryptableRequest extends ContentRequest {
  /** age recipients as the client sent them; empty for unencrypted content. */
  readonly recipients: readonly string[]
}

export interface OpenContent {
  readonly sizeBytes: number
  /** Generation of the archive's file when it was opened. */
  readonly generation: string
  /** Distinct age recipients of the content; empty for unencrypted content. */
  readonly recipients: readonly string[]
  /**
   * Sends the content. Calls `start` after the download is recorded, right before the first byte. Rejects if sending
   * fails; the sink is then closed if `start` was called.
   */
  readonly send: (request: SendRequest) => Promise<void>
  readonly close: () => Promise<void>
}

export interface SendRequest {
  readonly first: number
  /** End of the part, exclusive. */
  readonly end: number
  readonly coding?: 'gzip' | 'zstd'
  /** Opens the sink; called after the download is recorded, right before the first byte. */
  readonly start: () => ByteSink
}

/** A page of the container's changes to its root filesystem. */
export interface RootfsDiffPage extends Omit<RootfsDiff, 'isWhole'> {
  /** Tells whether the archive holds every change. */
  readonly isComplete: boolean
}
