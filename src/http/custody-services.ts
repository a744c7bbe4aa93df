import type { Checkpoint } from '../checkpoint/checkpoint.ts'
import type { ChainEnd, CustodyEntry } from '../custody/custody-entry.ts'
import type { CustodyReport } from '../custody/custody-verify.ts'
import type { DsseEnvelope } from '../custody/dsse.ts'

/** The record of who did what, and what is signed with its key. */
export interface CustodyServices {
  /** A page may be short, or empty, and not be the last. */
  readonly page: (query: {
    readonly after: number
    readonly limit: number
    readonly checkpointId?: string
    readonly signal?: AbortSignal
  }) => Promise<{ readonly entries: readonly CustodyEntry[]; readonly next: number | undefined }>
  /** How far it has come, signed. Throws UnavailableError (`CustodyUnavailable`). */
  readonly head: () => Promise<DsseEnvelope>
  readonly verify: (head: ChainEnd | undefined) => Promise<CustodyReport>
  /** Lines of the log, as they stand. */
  readonly export: (after: number) => AsyncIterable<Uint8Array>
  /** Throws NotFoundError, ConflictError (`DigestUnknown`). */
  readonly manifest: (checkpoint: Checkpoint) => DsseEnvelope
}
