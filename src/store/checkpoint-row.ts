import type {
  Checkpoint,
  CheckpointIdentity,
  CheckpointPin,
  CheckpointState,
  CheckpointSummary,
} from '../checkpoint/checkpoint.ts'
import type { IdentitySource } from '../checkpoint/identity.ts'
import type { Problem } from '../checkpoint/problem.ts'
import { NAME_COLUMNS, numberOfName } from './names.ts'

/** A row of the table as written. */
export interface CheckpointRow {
  readonly id: bigint
  readonly state: number
  readonly engine: number
  readonly identity_source: number
  readonly pinned: number
  readonly size_bytes: number
  readonly taken_at: number
  readonly discovered_at: number
  readonly generation: string
  readonly namespace: string | null
  readonly pod: string | null
  readonly pod_uid: string | null
  readonly container: string | null
  readonly raw_name: Uint8Array
  readonly file_name: string
  readonly sha256: string | null
  readonly is_believed: number
  readonly modified_at: number
  readonly reason: string | null
  readonly pin_reason: string | null
  readonly details: string
}

/**
 * A row as read: with a hexadecimal id, and without the columns that only plans and filters use.
 */
export type StoredCheckpoint = Omit<CheckpointRow, 'id' | 'modified_at' | 'pin_reason'> & { readonly id: string }

/** All columns; a row without one of them does not compile. */
const COLUMNS: Readonly<Record<keyof CheckpointRow, true>> = {
  id: true,
  state: true,
  engine: true,
  identity_source: true,
  pinned: true,
  size_bytes: true,
  taken_at: true,
  discovered_at: true,
  generation: true,
  namespace: true,
  pod: true,
  pod_uid: true,
  container: true,
  raw_name: true,
  file_name: true,
  sha256: true,
  is_believed: true,
  modified_at: true,
  reason: true,
  pin_reason: true,
  details: true,
}

/** SQL expression for each column. The names of the row must be in the table of names first. */
export const WRITTEN_VALUES: ReadonlyMap<string, string> = new Map([
  ...Object.keys(COLUMNS).map((column) => [column, `:${column}`] as const),
  ...NAME_COLUMNS.map((column) => [`${column}_number`, numberOfName(`:${column}`)] as const),
])

/** Columns to select for a `StoredCheckpoint`. */
export const READ_COLUMNS: string = Object.keys(COLUMNS)
  .filter((column) => column !== 'modified_at' && column !== 'pin_reason')
  .map((column) => (column === 'id' ? `printf('%016x', id) AS id` : column))
  .join(', ')

/**
 * Numbers for values of closed sets. They are stored in the file: add new ones, but never change
 * old ones.
 */
const STATES: Readonly<Record<CheckpointState, number>> = {
  discovered: 0,
  hashing: 1,
  ready: 2,
  incomplete: 3,
  damaged: 4,
}
const SOURCES: Readonly<Record<IdentitySource, number>> = { observed: 0, archive: 1, name: 2, unknown: 3 }
const ENGINES: Readonly<Record<Checkpoint['engine'], number>> = { containerd: 0, 'cri-o': 1, podman: 2, unknown: 3 }

const STATE_WORDS = byCode(STATES)
const SOURCE_WORDS = byCode(SOURCES)
const ENGINE_WORDS = byCode(ENGINES)

/** Converts a value to its number; values outside the set get one that no row has. */
export const stateCode = (state: string): number => codeIn(STATES, state)
export const sourceCode = (source: string): number => codeIn(SOURCES, source)
export const engineCode = (engine: string): number => codeIn(ENGINES, engine)

/** Converts a number back to its value. */
export const stateOf = (code: number): CheckpointState => wordIn(STATE_WORDS, code)
export const sourceOf = (code: number): IdentitySource => wordIn(SOURCE_WORDS, code)
export const engineOf = (code: number): Checkpoint['engine'] => wordIn(ENGINE_WORDS, code)

/** Converts an id to the signed 64 bits that SQLite stores; undefined if it is not an id. */
export function idNumber(id: string): bigint | undefined {
  return /^[0-9a-f]{16}$/.test(id) ? BigInt.asIntN(64, BigInt(`0x${id}`)) : undefined
}

/** Fields that no list filters by, stored as one text. */
interface Details {
  readonly problems: readonly Problem[]
  readonly containerId?: string
  readonly takenAt: string
  readonly pin?: CheckpointPin
  readonly summary: CheckpointSummary
}

export function toRow(checkpoint: Checkpoint): CheckpointRow {
  const { id, identity, problems, takenAt, pin, summary } = checkpoint
  const number = idNumber(id)
  if (number === undefined) throw new Error(`Cannot save checkpoint "${id}": its id is not 16 hex digits`)
  const details: Details = {
    problems,
    ...(identity.containerId !== undefined && { containerId: identity.containerId }),
    takenAt: takenAt.text,
    ...(pin !== undefined && { pin }),
    summary,
  }
  return {
    id: number,
    state: STATES[checkpoint.state],
    engine: ENGINES[checkpoint.engine],
    identity_source: SOURCES[identity.source],
    pinned: Number(pin !== undefined),
    size_bytes: checkpoint.sizeBytes,
    taken_at: takenAt.millis,
    discovered_at: checkpoint.discoveredAt.getTime(),
    generation: checkpoint.generation,
    namespace: identity.namespace ?? null,
    pod: identity.pod ?? null,
    pod_uid: identity.podUid ?? null,
    container: identity.container ?? null,
    raw_name: checkpoint.rawName,
    file_name: checkpoint.fileName,
    sha256: checkpoint.sha256 ?? null,
    is_believed: Number(identity.isTrusted),
    modified_at: modifiedAt(checkpoint.generation),
    reason: checkpoint.reason ?? null,
    pin_reason: pin?.reason ?? null,
    details: JSON.stringify(details),
  }
}

export function fromRow(row: StoredCheckpoint): Checkpoint {
  const { problems, containerId, takenAt, pin, summary } = JSON.parse(row.details) as Details
  const identity: CheckpointIdentity = {
    ...(row.namespace !== null && { namespace: row.namespace }),
    ...(row.pod !== null && { pod: row.pod }),
    ...(row.pod_uid !== null && { podUid: row.pod_uid }),
    ...(row.container !== null && { container: row.container }),
    ...(containerId !== undefined && { containerId }),
    source: wordIn(SOURCE_WORDS, row.identity_source),
    isTrusted: row.is_believed === 1,
  }
  return {
    id: row.id,
    rawName: row.raw_name,
    fileName: row.file_name,
    generation: row.generation,
    state: stateOf(row.state),
    problems,
    identity,
    engine: wordIn(ENGINE_WORDS, row.engine),
    sizeBytes: row.size_bytes,
    takenAt: { text: takenAt, millis: row.taken_at },
    discoveredAt: new Date(row.discovered_at),
    ...(row.sha256 !== null && { sha256: row.sha256 }),
    ...(row.reason !== null && { reason: row.reason }),
    ...(pin !== undefined && { pin }),
    summary,
  }
}

/**
 * Extracts the modification time in milliseconds; the last part of a generation has it in
 * nanoseconds.
 */
function modifiedAt(generation: string): number {
  return Number(generation.slice(generation.lastIndexOf(':') + 1, -6))
}

const NO_ROW = -1

function codeIn(set: Readonly<Record<string, number>>, word: string): number {
  return Object.hasOwn(set, word) ? (set[word] ?? NO_ROW) : NO_ROW
}

function wordIn<Word extends string>(words: ReadonlyMap<number, Word>, code: number): Word {
  const word = words.get(code)
  if (word === undefined) throw new Error(`Cannot read a checkpoint: its row has the unknown code ${code}`)
  return word
}

function byCode<Word extends string>(set: Readonly<Record<Word, number>>): ReadonlyMap<number, Word> {
  return new Map((Object.keys(set) as Word[]).map((word) => [set[word], word]))
}
