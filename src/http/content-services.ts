import type { Checkpoint } from '../checkpoint/checkpoint.ts'
import type { Problem } from '../checkpoint/problem.ts'
import type { CheckpointMember } from './checkpoint-services.ts'
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
  ) => Promise<RootfsDiff>
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
  readonly send: (order: {
    readonly first: number
    /** Exclusive. */
    readonly end: number
    readonly coding?: 'gzip' | 'zstd'
    readonly start: () => ContentSink
  }) => Promise<void>
  readonly close: () => Promise<void>
}

/** Where bytes go, one piece after the other. */
export interface ContentSink {
  /** Takes the piece before it returns, and resolves when its buffer may be used again. */
  readonly write: (piece: Buffer) => Promise<void>
  readonly end: () => Promise<void>
  /** Without an end: the caller must see that something is missing. */
  readonly close: () => void
}

export interface RootfsDiff {
  /** Whether the archive has a diff at all. */
  readonly isThere: boolean
  readonly changes: readonly RootfsChange[]
  readonly remaining: number
  /** Whether there can be no further changes that the archive does not hold. */
  readonly isComplete: boolean
  readonly problems: readonly Problem[]
}

export interface RootfsChange {
  /** Without a slash in front. */
  readonly path: string
  readonly change: 'added-or-changed' | 'changed' | 'deleted' | 'emptied'
  /** Of what is there now. */
  readonly entry?: CheckpointMember
}
