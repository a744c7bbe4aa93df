import type { TarMember } from '../../archive/tar-member.ts'
import type { Problem } from '../../checkpoint/problem.ts'
import type { ArchiveSummary } from './archive-summary.ts'

/** Archive in a request to the reader. */
export interface FileRequest {
  /** Path in base64 because it need not be UTF-8. */
  readonly path: string
  readonly generation: string
  readonly sizeBytes: number
  readonly mayGrow?: true
}

interface OneFile {
  readonly file: FileRequest
  /** Whether the reader may open a zstd window above the free size. */
  readonly mayOpenLargeWindow: boolean
}

/** Request from the agent. A process handles one request at a time. */
export type ReaderRequest =
  | {
      readonly kind: 'summaries'
      readonly files: readonly FileRequest[]
      readonly mayOpenLargeWindow: boolean
      /**
       * Whether the reader names each archive before it reads it and sends each outcome at once. The agent then knows
       * which archive ended the reader.
       */
      readonly isCareful: boolean
    }
  | ({ readonly kind: 'tar-end' } & OneFile)
  | ({ readonly kind: 'members'; readonly skip: number; readonly limit: number } & OneFile)
  | ({ readonly kind: 'find-member'; readonly name: string } & OneFile)
  | ({ readonly kind: 'rootfs-diff'; readonly skip: number; readonly limit: number } & OneFile)
  | ({ readonly kind: 'open-member'; readonly member: TarMember } & OneFile)
  /** Reads from the open member. The answer is a frame of bytes, empty at the end. */
  | { readonly kind: 'read-member'; readonly position: number; readonly length: number }

/** Cancels the current request. The reader still sends an answer. */
export interface CancelRequest {
  readonly kind: 'cancel'
}

/** Reason for a missing answer. */
export type ReaderRefusal =
  | { readonly kind: 'changed' }
  | { readonly kind: 'unreadable'; readonly code: string }
  /** The archive needs a zstd window that requires a permit. */
  | { readonly kind: 'large-window' }
  | { readonly kind: 'cancelled' }
  /** A finding about the bytes, if the answer has no list of findings. */
  | { readonly kind: 'problem'; readonly problem: Problem }
  /** A bug in the reader. */
  | { readonly kind: 'failed'; readonly error: string }

/** Message from the reader. The agent treats it as `unknown` until it has checked every field. */
export type ReaderAnswer =
  /** Everything is loaded and locked down. */
  | { readonly kind: 'ready' }
  /** Sent before the archive with this index is read, if the request is careful. */
  | { readonly kind: 'begin'; readonly index: number }
  /** Outcomes of the archives from the index `first` on. */
  | { readonly kind: 'outcomes'; readonly first: number; readonly outcomes: readonly (SentSummary | ReaderRefusal)[] }
  | { readonly kind: 'done'; readonly value?: unknown }
  | ReaderRefusal

/** A summary with times as strings, because JSON has no 64-bit integers. */
export interface SentSummary {
  readonly kind: 'summary'
  readonly summary: Omit<ArchiveSummary, TimeField> & { readonly [Field in TimeField]?: string }
}

type TimeField = 'createdAt' | 'startedAt' | 'takenAt'
