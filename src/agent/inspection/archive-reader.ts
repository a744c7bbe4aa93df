import type { ByteSource } from '../../streams/byte-source.ts'
import type { Compression } from '../../archive/compression.ts'
import type { MemberList } from '../../archive/member-list.ts'
import type { RootfsDiff } from '../../archive/rootfs-diff.ts'
import type { TarEnd } from '../../archive/tar-end.ts'
import type { TarMember } from '../../archive/tar-member.ts'
import type { Problem } from '../../checkpoint/problem.ts'
import type { ArchiveSummary } from './archive-summary.ts'

/** A file below the checkpoint directory, and what the agent saw it to be. */
export interface ArchiveFile {
  /** Relative to the checkpoint directory; need not be UTF-8. Staged archives are `.checkpoint-agent/<job>/archive.tar`. */
  readonly path: Buffer
  /** The reader opens with O_NOFOLLOW and compares this with fstat; another file is answered as `changed`. */
  readonly generation: string
  /** Bytes beyond this are not read: the file may be growing. */
  readonly sizeBytes: number
  /** Accepts the same inode where it is at least as long as `sizeBytes`: for an archive that is still being written. */
  readonly mayGrow?: boolean
}

export type SummaryOutcome =
  | { readonly kind: 'summary'; readonly summary: ArchiveSummary }
  /** Replaced, removed or no regular file any more. */
  | { readonly kind: 'changed' }
  /** CPU or memory budget exceeded, alone, twice; or the reader died on it by its own doing, alone, twice. */
  | { readonly kind: 'too-expensive'; readonly problem: Problem }
  | { readonly kind: 'unreadable'; readonly code: string }

export type ReaderLane = 'index' | 'callers'

export interface PageOptions {
  readonly skip: number
  readonly limit: number
  readonly signal: AbortSignal
}

/** A check that could not be made; never a reason to discard the archive. */
export interface CannotTell {
  readonly kind: 'cannot-tell'
  readonly why: string
}

export interface FoundMember {
  readonly member: TarMember
  readonly compression: Compression
}

/** Reads archives outside of the agent's process: their bytes are hostile. */
export interface ArchiveReader {
  /** The agent's own work. Outcomes in the order given, told one by one as they come in; batches are formed inside. */
  summarizeAll(
    files: readonly ArchiveFile[],
    onOutcome: (index: number, outcome: SummaryOutcome) => void,
  ): Promise<void>
  /** One, now (verify, an awaited look). Throws the signal's reason. */
  summarize(
    file: ArchiveFile,
    options: { readonly lane: ReaderLane; readonly signal?: AbortSignal },
  ): Promise<SummaryOutcome>
  /** Whether a staged tar ends as it should. */
  findTarEnd(file: ArchiveFile): Promise<TarEnd | CannotTell>
  /** Answers are bounded whatever the limit. Throws ConflictError (`CheckpointChanged`), UnprocessableError (`TooExpensive`), the signal's reason. */
  listMembers(file: ArchiveFile, page: PageOptions): Promise<MemberList>
  findMember(file: ArchiveFile, name: string, signal: AbortSignal): Promise<FoundMember | undefined>
  readRootfsDiff(file: ArchiveFile, page: PageOptions): Promise<RootfsDiff>
  /** The unpacked bytes of one member of a packed archive: a process of its own, back-pressured, at most two at once. */
  openPackedMember(file: ArchiveFile, member: TarMember, signal: AbortSignal): Promise<ByteSource>
  /** Starts the reader ahead of need, for example when a capture is asked for. */
  warm(): void
  close(): Promise<void>
}
