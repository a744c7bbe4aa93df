import type { Checkpoint } from '../checkpoint/checkpoint.ts'
import type { Actor } from '../checkpoint/actor.ts'

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

export interface ChainEnd {
  readonly seq: number
  readonly hash: string
}

export interface CustodyEntry {
  readonly seq: number
  readonly time: string
  readonly node: string
  readonly actor: Actor
  readonly action: string
  readonly checkpoint?: {
    readonly id: string
    readonly fileName: string
    readonly sizeBytes?: number
    readonly sha256?: string
  }
  readonly detail?: Readonly<Record<string, unknown>>
  readonly outcome: string
  readonly previous: string
  readonly hash: string
}

export interface CustodyReport {
  readonly verdict: 'authentic' | 'not-authenticated' | 'broken'
  readonly notChecked: readonly string[]
  readonly problems: readonly {
    readonly code: string
    readonly file?: string
    readonly line?: number
    readonly detail: string
  }[]
  readonly problemCount: number
  readonly files: number
  readonly entries: number
  readonly first: ChainEnd | undefined
  readonly last: ChainEnd | undefined
  readonly head: ChainEnd | undefined
  readonly authenticatedSeq: number | undefined
  readonly keyId: string | undefined
}

export interface DsseEnvelope {
  readonly payloadType: string
  readonly payload: string
  readonly signatures: readonly { readonly keyid: string; readonly sig: string }[]
}
