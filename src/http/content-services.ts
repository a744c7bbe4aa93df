import type { RootfsDiff } from '../archive/rootfs-diff.ts'
import type { Checkpoint } from '../checkpoint/checkpoint.ts'
import type { ByteSink } from '../streams/byte-sink.ts'
import type { Actor } from '../checkpoint/actor.ts'

/** The bytes of archives. What is opened is to be closed in any case. */
export interface ContentServices {
  /**
   * Throws ConflictError (`ArchiveIncomplete`, `CheckpointChanged`, `NotReadable`), UnavailableError
   * (`TooManyDownloads`), InvalidInputError (`InvalidRecipient`, `TooManyRecipients`), NotAllowedError
   * (`EncryptionRequired`, `RecipientNotAllowed`).
   */
  readonly openArchive: (checkpoint: Checkpoint, request: EncryptableRequest) => Promise<OpenContent>
  /** The same, and UnavailableError (`TooManyInspections`), NotFoundError (`MemberNotFound`), ConflictError (`NotAFile`). `member` is a name of the list. */
  readonly openMember: (
    checkpoint: Checkpoint,
    request: EncryptableRequest & { readonly member: string },
  ) => Promise<OpenContent>
  /** The same as for an archive, but UnavailableError (`TooManyInspections`); there is no encrypted form. */
  readonly readRootfsDiff: (
    checkpoint: Checkpoint,
    request: ContentRequest & {
      readonly skip: number
      readonly limit: number
      /** Nothing of it leaves, so nothing is recorded. */
      readonly isHeadOnly?: boolean
    },
  ) => Promise<RootfsDiffPage>
}

export interface ContentRequest {
  readonly actor: Actor
  /** Also what is not whole. */
  readonly acceptsIncomplete: boolean
  /** Aborts when the caller has left. */
  readonly signal: AbortSignal
}

export interface EncryptableRequest extends ContentRequest {
  /** As they were given; empty: plain. */
  readonly recipients: readonly string[]
}

export interface OpenContent {
  readonly sizeBytes: number
  /** Of the archive's file as it was opened. */
  readonly generation: string
  /** Whom it is encrypted to, each once; empty: plain. */
  readonly recipients: readonly string[]
  /**
   * `start` is called once it is on record that this is given out, right before the first byte. Rejects where it does
   * not end well; after `start` the sink is closed then.
   */
  readonly send: (request: SendRequest) => Promise<void>
  readonly close: () => Promise<void>
}

export interface SendRequest {
  readonly first: number
  /** Exclusive. */
  readonly end: number
  readonly coding?: 'gzip' | 'zstd'
  /** Called once the intent is on record, right before the first byte. */
  readonly start: () => ByteSink
}

/** A page of what the container changed in its root filesystem. */
export interface RootfsDiffPage extends Omit<RootfsDiff, 'isWhole'> {
  /** Whether the archive holds every change. */
  readonly isComplete: boolean
}
