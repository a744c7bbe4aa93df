import type { ByteSource } from '../../streams/byte-source.ts'
import type { Compression } from '../../archive/compression.ts'
import type { MemberList } from '../../archive/member-list.ts'
import type { RootfsDiff } from '../../archive/rootfs-diff.ts'
import type { TarEnd } from '../../archive/tar-end.ts'
import type { TarMember } from '../../archive/tar-member.ts'
import type { Problem } from '../../checkpoint/problem.ts'
import type { ArchiveSummary } from './archive-summary.ts'

/** A file in the checkpoint directory, as the agent last saw it. */
export interface ArchiveFile {
  /**
   * Path relative to the checkpoint directory. It need not be UTF-8. Staged archives are
   * `.checkpoint-agent/<job>/archive.tar`.
   */
  readonly path: Buffer
  /** Generation to compare with fstat after opening with O_NOFOLLOW. A different file is answered as `changed`. */
  readonly generation: string
  /** Maximum number of bytes to read, because the file may be growing. */
  readonly sizeBytes: number
  /** Accepts the same inode if it has at least `sizeBytes`, for an archive that is still being written. */
  readonly mayGrow?: boolean
}

export type SummaryOutcome =
  | { readonly kind: 'summary'; readonly summary: ArchiveSummary }
  /** The file was replaced or removed, or is not a regular file. */
  | { readonly kind: 'changed' }
  /** The file exceeded its CPU or memory budget, or made the reader die, in two attempts on its own. */
  | { readonly kind: 'too-expensive'; readonly problem: Problem }
  | { readonly kind: 'unreadable'; readonly code: string }

export type ReaderLane = 'index' | 'callers'

export interface PageOptions {
  readonly skip: number
  readonly limit: number
  readonly signal: AbortSignal
}

/** Result of a check that could not be made. It is never a reason to discard the archive. */
export interface CannotTell {
  readonly kind: 'cannot-tell'
  readonly why: string
}

export interface FoundMember {
  readonly member: TarMember
  readonly compression: Compression
}

/** Reads archives outside the agent's process, because their content is untrusted. */
export interface ArchiveReader {
  /**
   * Summarizes files for the inventory. Outcomes are reported one at a time in the order of `files`. The reader forms
   * batches itself.
   */
  summarizeAll(
    files: readonly ArchiveFile[],
    onOutcome: (index: number, outcome: SummaryOutcome) => void,
  ): Promise<void>
  /** Summarizes one file immediately, for a verification or an awaited refresh. Throws the signal's reason. */
  summarize(
    file: ArchiveFile,
    options: { readonly lane: ReaderLane; readonly signal?: AbortSignal },
  ): Promise<SummaryOutcome>
  /** Returns whether a staged archive ends properly. */
  findTarEnd(file: ArchiveFile): Promise<TarEnd | CannotTell>
  /**
   * Lists members. The size of an answer is bounded whatever the limit. Throws ConflictError (`CheckpointChanged`),
   * UnprocessableError (`TooExpensive`), or the signal's reason.
   */
  listMembers(file: ArchiveFile, page: PageOptions): Promise<MemberList>
  findMember(file: ArchiveFile, name: string, signal: AbortSignal): Promise<FoundMember | undefined>
  readRootfsDiff(file: ArchiveFile, page: PageOptions): Promise<RootfsDiff>
  /**
   * Opens the uncompressed bytes of one member of a compressed archive, in a process of its own and with back-pressure.
   * At most two are open at once.
   */
  openPackedMember(file: ArchiveFile, member: TarMember, signal: AbortSignal): Promise<ByteSource>
  /** Starts the reader early, for example when a capture is requested. */
  warm(): void
  close(): Promise<void>
}
