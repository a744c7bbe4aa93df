import type { TarMember } from '../../archive/tar-member.ts'
import type { Problem } from '../../checkpoint/problem.ts'
import type { ArchiveSummary } from './archive-summary.ts'

/** An archive as the reader is told of it. */
export interface FileRequest {
  /** Base64: it need not be UTF-8. */
  readonly path: string
  readonly generation: string
  readonly sizeBytes: number
  readonly mayGrow?: true
}

interface OneFile {
  readonly file: FileRequest
  /** Whether a zstd window beyond the free size may be opened. */
  readonly mayOpenLargeWindow: boolean
}

/** What the agent asks. A process has one request at a time. */
export type ReaderRequest =
  | {
      readonly kind: 'summaries'
      readonly files: readonly FileRequest[]
      readonly mayOpenLargeWindow: boolean
      /** Names each archive before it is touched, and tells of each at once: so it is known over which one a reader ends. */
      readonly isCareful: boolean
    }
  | ({ readonly kind: 'tar-end' } & OneFile)
  | ({ readonly kind: 'members'; readonly skip: number; readonly limit: number } & OneFile)
  | ({ readonly kind: 'find-member'; readonly name: string } & OneFile)
  | ({ readonly kind: 'rootfs-diff'; readonly skip: number; readonly limit: number } & OneFile)
  | ({ readonly kind: 'open-member'; readonly member: TarMember } & OneFile)
  /** Of the member that is open: the answer is a frame of bytes, an empty one at the end. */
  | { readonly kind: 'read-member'; readonly position: number; readonly length: number }

/** Nobody waits for the answer any more; there is one all the same. */
export interface CancelRequest {
  readonly kind: 'cancel'
}

/** Why there is no answer. */
export type ReaderRefusal =
  | { readonly kind: 'changed' }
  | { readonly kind: 'unreadable'; readonly code: string }
  /** It needs a zstd window that takes a permit. */
  | { readonly kind: 'large-window' }
  | { readonly kind: 'cancelled' }
  /** What is wrong with the bytes, where there is no list of problems to put it on. */
  | { readonly kind: 'problem'; readonly problem: Problem }
  /** A bug of the reader. */
  | { readonly kind: 'failed'; readonly error: string }

/** What the reader sends. The agent takes it for `unknown` until it has looked at every field. */
export type ReaderAnswer =
  /** All is loaded and locked down. */
  | { readonly kind: 'ready' }
  /** Sent before the archive of this number is touched, where care is asked for. */
  | { readonly kind: 'begin'; readonly index: number }
  /** Of the archives from this number on. */
  | { readonly kind: 'outcomes'; readonly first: number; readonly outcomes: readonly (SentSummary | ReaderRefusal)[] }
  | { readonly kind: 'done'; readonly value?: unknown }
  | ReaderRefusal

/** A summary whose times are texts: JSON knows no integers of 64 bits. */
export interface SentSummary {
  readonly kind: 'summary'
  readonly summary: Omit<ArchiveSummary, TimeField> & { readonly [Field in TimeField]?: string }
}

type TimeField = 'createdAt' | 'startedAt' | 'takenAt'
