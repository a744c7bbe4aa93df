import { createHash, hash as oneHash } from 'node:crypto'
import type { Actor } from '../checkpoint/actor.ts'

/**
 * The actor of an entry. An actor with more groups than fit has `groupCount` and `groupsSha256`.
 */
export interface CustodyActor extends Actor {
  /** SHA-256 of a name that was shortened. */
  readonly userSha256?: string
  readonly groupCount?: number
  /** SHA-256 of all groups, each followed by a NUL. */
  readonly groupsSha256?: string
}

export type CustodyAction =
  | 'agent.start'
  | 'agent.stop'
  | 'capture'
  | 'freeze.resume'
  | 'discovery'
  | 'digest'
  | 'permission-repair'
  | 'content'
  | 'pin'
  | 'unpin'
  | 'verify'
  | 'delete'
  | 'prune'
  | 'tampering'
  | 'log.segment'
  | 'log.repair'
  | 'log.resume'

/**
 * Result of an action. `intended` precedes an irreversible action, whose result follows in an entry
 * of its own.
 */
export type CustodyOutcome = 'intended' | 'done' | 'failed' | 'unknown'

export interface CustodyCheckpoint {
  readonly id: string
  readonly fileName: string
  readonly sizeBytes?: number
  readonly sha256?: string
}

/** An event before it has its position in the chain. */
export interface CustodyDraft {
  readonly actor: CustodyActor
  readonly action: CustodyAction
  readonly checkpoint?: CustodyCheckpoint
  readonly detail?: Readonly<Record<string, unknown>>
  readonly outcome: CustodyOutcome
}

export interface CustodyEntry extends CustodyDraft {
  /** Starts at 1 and has no gaps. */
  readonly seq: number
  readonly time: string
  readonly node: string
  /** Hash of the previous entry. */
  readonly previous: string
  readonly hash: string
}

/** The end of a chain, given by its last entry. */
export interface ChainEnd {
  readonly seq: number
  readonly hash: string
}

/** The actor of the agent's own actions. */
export const AGENT_ACTOR: CustodyActor = { user: 'system:checkpoint-agent', groups: [] }

export const CHAIN_BEGIN: ChainEnd = { seq: 0, hash: '0'.repeat(64) }

/**
 * Creates the entry at its position, and its line. A line is compact JSON with the fields in this
 * order. Its hash is the SHA-256 of the line without `,"hash":"…"`, so `sed` and `sha256sum`, or
 * any JSON tool that keeps the order of fields, can recompute it. Pass drafts through `boundDraft`
 * first.
 */
export function sealEntry(
  draft: CustodyDraft,
  place: { readonly after: ChainEnd; readonly time: Date; readonly node: string },
): { readonly entry: CustodyEntry; readonly line: string } {
  const unsealed = {
    seq: place.after.seq + 1,
    time: place.time.toISOString(),
    node: place.node,
    actor: draft.actor,
    action: draft.action,
    ...(draft.checkpoint !== undefined && { checkpoint: draft.checkpoint }),
    ...(draft.detail !== undefined && { detail: draft.detail }),
    outcome: draft.outcome,
    previous: place.after.hash,
  }
  const text = JSON.stringify(unsealed)
  const hash = hashOf(text)
  return { entry: { ...unsealed, hash }, line: `${text.slice(0, -1)},"hash":"${hash}"}\n` }
}

export type LineReading =
  | { readonly isGood: true; readonly entry: CustodyEntry }
  | { readonly isGood: false; readonly code: 'NotAnEntry' | 'HashWrong'; readonly detail: string }

const SEALED = /,"hash":"([0-9a-f]{64})"\}$/

/**
 * Parses one line without its line break and checks its hash. Does not check that it follows the
 * previous line.
 */
export function readLine(line: Buffer): LineReading {
  const tail = line.toString('latin1', Math.max(0, line.length - SEAL_BYTES))
  const [, hash] = SEALED.exec(tail) ?? []
  if (hash === undefined) return { isGood: false, code: 'NotAnEntry', detail: 'the line does not end with a hash' }
  const found = createHash('sha256')
    .update(line.subarray(0, line.length - SEAL_BYTES))
    .update('}')
    .digest('hex')
  if (found !== hash) {
    return { isGood: false, code: 'HashWrong', detail: `its bytes hash to ${found}, and it says ${hash}` }
  }
  try {
    const entry = JSON.parse(line.toString('utf8')) as Partial<CustodyEntry>
    if (Number.isSafeInteger(entry.seq) && typeof entry.previous === 'string' && typeof entry.action === 'string') {
      return { isGood: true, entry: entry as CustodyEntry }
    }
  } catch {
    // Falls through: a valid hash does not make other content an entry.
  }
  return { isGood: false, code: 'NotAnEntry', detail: 'the line is not an entry of this log' }
}

const SEAL_BYTES = ',"hash":""}'.length + 64

function hashOf(text: string): string {
  return oneHash('sha256', text)
}
