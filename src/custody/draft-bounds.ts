import { createHash } from 'node:crypto'
import { errorText } from '../shared/errors.ts'
import { AGENT_ACTOR, type CustodyActor, type CustodyCheckpoint, type CustodyDraft } from './custody-entry.ts'
import { copyPlain, cutText, jsonBytes, plainText, shrinkPlain, type PlainJson } from './plain-json.ts'

/** Longest line of an entry caused by a caller; bounds how fast callers can fill the log. */
export const MAX_CALLER_LINE_BYTES = 4 * 1024
/** Longest line of an entry about the agent's own actions. */
export const MAX_AGENT_LINE_BYTES = 64 * 1024
/** JSON bytes of the actor in any entry. */
export const MAX_ACTOR_BYTES = 1024
/** Group names in an entry; longer lists are counted and digested. */
export const MAX_GROUPS = 16

/**
 * Shortens a draft to the size of an entry and normalizes it to JSON that every tool writes in the
 * same way. Does a bounded amount of work and never throws: a draft that cannot be written is
 * replaced by one that says so.
 */
export function boundDraft(draft: CustodyDraft, node: string): CustodyDraft {
  try {
    const bounded = boundParts(draft)
    if (draft.detail === undefined) return bounded
    const { copy: detail, isWhole } = copyPlain(draft.detail)
    const room = roomForDetail(draft, node)
    const bytes = jsonBytes(detail)
    if (isWhole && bytes <= room) return { ...bounded, detail: detail as DraftDetail }
    const mark = { shortenedFromBytes: bytes }
    return { ...bounded, detail: { ...shrinkDetail(detail as PlainDetail, room - jsonBytes(mark)), ...mark } }
  } catch (error) {
    return unwritable(draft, error)
  }
}

type PlainDetail = Readonly<Record<string, PlainJson>>

/**
 * Fields that the agent needs when it reads its log, such as the owner of an archive. Other fields
 * are shortened first.
 */
const KEPT_WHOLE: ReadonlySet<string> = new Set([
  'intent',
  'range',
  'announced',
  'job',
  'identity',
  'inode',
  'modifiedAt',
  'takenAt',
  'place',
  'generation',
  'problem',
])
/** Share of the available bytes up to which those fields stay complete. */
const KEPT_SHARE = 0.75

function shrinkDetail(detail: PlainDetail, maxBytes: number): PlainDetail {
  const fields = Object.entries(detail)
  const kept = Object.fromEntries(fields.filter(([key]) => KEPT_WHOLE.has(key)))
  const keptBytes = jsonBytes(kept)
  if (keptBytes > maxBytes * KEPT_SHARE) return shrinkPlain(detail, maxBytes) as PlainDetail
  const others = Object.fromEntries(fields.filter(([key]) => !KEPT_WHOLE.has(key)))
  const both = { ...kept, ...(shrinkPlain(others, maxBytes - keptBytes) as PlainDetail) }
  return Object.fromEntries(fields.flatMap(([key]) => (Object.hasOwn(both, key) ? [[key, both[key] ?? null]] : [])))
}

type DraftDetail = NonNullable<CustodyDraft['detail']>

/** Returns the JSON bytes available for the detail, next to the bounded actor and checkpoint. */
export function roomForDetail(draft: Omit<CustodyDraft, 'detail'>, node: string): number {
  const { actor, action, checkpoint, outcome } = boundParts(draft)
  // Compares the object, not its name: a caller may have the same name.
  const max = draft.actor === AGENT_ACTOR ? MAX_AGENT_LINE_BYTES : MAX_CALLER_LINE_BYTES
  const parts = [{ ...actor }, action, checkpoint === undefined ? null : { ...checkpoint }, outcome, node]
  return max - jsonBytes(parts) - FRAME
}

/**
 * Bytes of a line other than its actor, action, checkpoint, detail, outcome and node: field names,
 * number, time, hashes.
 */
const FRAME = 340

/** Creates the replacement for a draft that cannot be written. */
export function unwritable(draft: CustodyDraft, error: unknown): CustodyDraft {
  return {
    actor: safely(() => boundActor(draft.actor)) ?? { user: 'unknown', groups: [] },
    action: draft.action,
    ...safely(() => draft.checkpoint && { checkpoint: boundCheckpoint(draft.checkpoint) }),
    detail: { notWritable: cutText(plainText(safely(() => errorText(error)) ?? 'unknown error'), 512) },
    outcome: draft.outcome,
  }
}

function boundParts({ actor, action, checkpoint, outcome }: Omit<CustodyDraft, 'detail'>): CustodyDraft {
  return {
    actor: boundActor(actor),
    action,
    ...(checkpoint !== undefined && { checkpoint: boundCheckpoint(checkpoint) }),
    outcome,
  }
}

/**
 * Shortens an actor to at most 1 KiB. If groups are omitted or shortened, their number and the
 * digest of all of them identify the full list.
 */
export function boundActor(actor: CustodyActor): CustodyActor {
  const { user, groups, address, requestId, groupCount, groupsSha256 } = actor
  const bounded = {
    user: boundText(user, MAX_USER_BYTES),
    ...(user.length > MAX_USER_BYTES && { userSha256: digestOf([user]) }),
    groups: [],
    ...(address !== undefined && { address: boundText(address, MAX_ADDRESS_BYTES) }),
    ...(requestId !== undefined && { requestId: boundText(requestId, MAX_REQUEST_ID_BYTES) }),
  }
  const kept: string[] = []
  let room = MAX_ACTOR_BYTES - jsonBytes(bounded) - GROUP_MARK_BYTES
  for (const group of groups.slice(0, MAX_GROUPS)) {
    const text = boundText(group, MAX_GROUP_BYTES)
    room -= jsonBytes(text) + 1
    if (room < 0) break
    kept.push(text)
  }
  const isWhole = kept.length === groups.length && kept.every((text, index) => text === plainText(groups[index] ?? ''))
  // A draft that was bounded before keeps the number and digest of its groups.
  const mark =
    groupCount === undefined
      ? { groupCount: groups.length, groupsSha256: digestOf(groups) }
      : { groupCount, groupsSha256 }
  return { ...bounded, groups: kept, ...((!isWhole || groupCount !== undefined) && mark) }
}

const MAX_USER_BYTES = 256
const MAX_ADDRESS_BYTES = 64
const MAX_REQUEST_ID_BYTES = 128
const MAX_GROUP_BYTES = 128
/** `,"groupCount":…,"groupsSha256":"…"` */
const GROUP_MARK_BYTES = 120

function boundCheckpoint({ id, fileName, sizeBytes, sha256 }: CustodyCheckpoint): CustodyCheckpoint {
  return {
    id: boundText(id, 64),
    fileName: boundText(fileName, MAX_FILE_NAME_BYTES),
    ...(sizeBytes !== undefined && { sizeBytes: Number.isFinite(sizeBytes) ? sizeBytes : 0 }),
    ...(sha256 !== undefined && { sha256: boundText(sha256, 80) }),
  }
}

/** Longest file name: 255 bytes in the file system, and more with escapes. */
const MAX_FILE_NAME_BYTES = 640

/** Shortens a text without reading more of it than fits. */
function boundText(text: string, maxBytes: number): string {
  const isLong = text.length > maxBytes
  return cutText(`${plainText(text.slice(0, maxBytes))}${isLong ? '…' : ''}`, maxBytes)
}

/**
 * Computes a digest of texts, each followed by a NUL, so that `printf '%s\0' … | sha256sum` can
 * recompute it.
 */
function digestOf(texts: readonly string[]): string {
  const hash = createHash('sha256')
  for (const text of texts) hash.update(text).update('\0')
  return hash.digest('hex')
}

function safely<Result>(work: () => Result): Result | undefined {
  try {
    return work()
  } catch {
    return undefined
  }
}
