import type { Checkpoint } from '../checkpoint/checkpoint.ts'
import type { ChainEnd, CustodyEntry } from '../custody/custody-entry.ts'
import type { CustodyReport } from '../custody/custody-verify.ts'
import type { DsseEnvelope } from '../custody/dsse.ts'

/** The custody log and statements signed with its key. */
export interface CustodyServices {
  /** Returns a page of entries. A page may be short or even empty without being the last. */
  readonly page: (query: {
    readonly after: number
    readonly limit: number
    readonly checkpointId?: string
    readonly signal?: AbortSignal
  }) => Promise<{ readonly entries: readonly CustodyEntry[]; readonly next: number | undefined }>
  /** Returns the signed head of the log. Throws UnavailableError (`CustodyUnavailable`). */
  readonly head: () => Promise<DsseEnvelope>
  readonly verify: (head: ChainEnd | undefined) => Promise<CustodyReport>
  /** Streams the raw lines of the log. */
  readonly export: (after: number) => AsyncIterable<Uint8Array>
  /** Returns the signed manifest of an archive. Throws NotFoundError or ConflictError (`DigestUnknown`). */
  readonly manifest: (checkpoint: Checkpoint) => DsseEnvelope
}
