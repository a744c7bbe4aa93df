import { engineOf, stateOf } from './checkpoint-row.ts'
import { RetentionIdentities, type RetentionIdentity } from './retention-identities.ts'

/** The fields of one archive that retention uses. */
export interface RetentionRow {
  readonly id: string
  readonly fileName: string
  readonly generation: string
  readonly state: ReturnType<typeof stateOf>
  readonly identity: RetentionIdentity
  readonly engine: ReturnType<typeof engineOf>
  readonly sizeBytes: number
  readonly takenAtMillis: number
  /** Modification time of the file, from its generation. */
  readonly modifiedAtMillis: number
  readonly isPinned: boolean
  readonly isInUse: boolean
  /** Time since which its pod is known to be gone. */
  readonly orphanSinceMillis: number | undefined
}

/** The moment of reading, with facts that the index does not contain. */
export interface RetentionMoment {
  readonly nowMillis: number
  /** Archives in use, by id. */
  readonly inUse: ReadonlySet<string>
}

export type RetentionColumns = [
  rowId: number,
  idHigh: number,
  idLow: number,
  namespace: number | null,
  pod: number | null,
  container: number | null,
  podUid: number | null,
  /**
   * One byte each for the pin, the engine and the state, then the identity source and the trust
   * flag.
   */
  marks: number,
  sizeBytes: number,
  takenAt: number,
  modifiedAt: number,
]

/** Lookups that the rows depend on. */
export interface RetentionContext {
  readonly moment: RetentionMoment
  /** Time for which a pod has been gone, by the number of its UID. */
  readonly goneMillis: ReadonlyMap<number, number>
  readonly nameOf: (number: number) => string | undefined
  readonly textsOf: (rowId: number) => RowTexts | undefined
}

interface RowTexts {
  readonly generation: string
  readonly fileName: string
}

/**
 * Stores the fields of all archives in typed arrays. With 100,000 objects on the heap, garbage
 * collection would take longer than the plan.
 */
export class RetentionTable {
  readonly #context: RetentionContext
  readonly #identities: RetentionIdentities
  /** Texts loaded so far, by row. */
  readonly #texts = new Map<number, RowTexts>()
  readonly #rowIds: Float64Array
  readonly #idHigh: Uint32Array
  readonly #idLow: Uint32Array
  readonly #states: Uint8Array
  readonly #engines: Uint8Array
  readonly #pinned: Uint8Array
  readonly #identity: Uint32Array
  readonly #sizes: Float64Array
  readonly #taken: Float64Array
  readonly #modified: Float64Array
  /** NaN if the pod is not known to be gone. */
  readonly #gone: Float64Array
  #count = 0

  constructor(capacity: number, context: RetentionContext) {
    this.#context = context
    this.#identities = new RetentionIdentities(capacity, context.nameOf)
    this.#rowIds = new Float64Array(capacity)
    this.#idHigh = new Uint32Array(capacity)
    this.#idLow = new Uint32Array(capacity)
    this.#states = new Uint8Array(capacity)
    this.#engines = new Uint8Array(capacity)
    this.#pinned = new Uint8Array(capacity)
    this.#identity = new Uint32Array(capacity)
    this.#sizes = new Float64Array(capacity)
    this.#taken = new Float64Array(capacity)
    this.#modified = new Float64Array(capacity)
    this.#gone = new Float64Array(capacity)
  }

  add(columns: RetentionColumns): void {
    const at = this.#count++
    const [rowId, idHigh, idLow, namespace, pod, container, podUid, marks, sizeBytes, takenAt, modifiedAt] = columns
    this.#rowIds[at] = rowId
    this.#idHigh[at] = idHigh
    this.#idLow[at] = idLow
    this.#identity[at] = this.#identities.numberOf({ namespace, pod, container, claim: marks & 0xff })
    this.#states[at] = marks >> 8
    this.#engines[at] = marks >> 16
    this.#pinned[at] = marks >> 24
    this.#sizes[at] = sizeBytes
    this.#taken[at] = takenAt
    this.#modified[at] = modifiedAt
    this.#gone[at] = (podUid === null ? undefined : this.#context.goneMillis.get(podUid)) ?? Number.NaN
  }

  rows(): RetentionRow[] {
    return Array.from({ length: this.#count }, (_, at) => new TableRow(this, at))
  }

  idOf(at: number): string {
    return `${hexOf(this.#idHigh[at])}${hexOf(this.#idLow[at])}`
  }

  textsOf(at: number): RowTexts {
    const known = this.#texts.get(at)
    if (known !== undefined) return known
    const texts = this.#context.textsOf(this.#rowIds[at] ?? 0)
    if (texts === undefined) throw new Error(`Cannot read the row of checkpoint "${this.idOf(at)}": it is gone`)
    this.#texts.set(at, texts)
    return texts
  }

  stateOf(at: number) {
    return stateOf(this.#states[at] ?? 0)
  }

  engineOf(at: number) {
    return engineOf(this.#engines[at] ?? 0)
  }

  identityOf(at: number): RetentionIdentity {
    return this.#identities.read(this.#identity[at])
  }

  isPinned(at: number): boolean {
    return this.#pinned[at] === 1
  }

  sizeOf(at: number): number {
    return this.#sizes[at] ?? 0
  }

  takenAtOf(at: number): number {
    return this.#taken[at] ?? 0
  }

  modifiedAtOf(at: number): number {
    return this.#modified[at] ?? 0
  }

  isInUse(at: number): boolean {
    const { inUse } = this.#context.moment
    return inUse.size > 0 && inUse.has(this.idOf(at))
  }

  orphanSinceOf(at: number): number | undefined {
    const gone = this.#gone[at] ?? Number.NaN
    return Number.isNaN(gone) ? undefined : this.#context.moment.nowMillis - gone
  }
}

/** A view of one row of the table. */
class TableRow implements RetentionRow {
  readonly #table: RetentionTable
  readonly #at: number

  constructor(table: RetentionTable, at: number) {
    this.#table = table
    this.#at = at
  }

  get id() {
    return this.#table.idOf(this.#at)
  }

  get fileName() {
    return this.#table.textsOf(this.#at).fileName
  }

  get generation() {
    return this.#table.textsOf(this.#at).generation
  }

  get state() {
    return this.#table.stateOf(this.#at)
  }

  get identity() {
    return this.#table.identityOf(this.#at)
  }

  get engine() {
    return this.#table.engineOf(this.#at)
  }

  get sizeBytes() {
    return this.#table.sizeOf(this.#at)
  }

  get takenAtMillis() {
    return this.#table.takenAtOf(this.#at)
  }

  get modifiedAtMillis() {
    return this.#table.modifiedAtOf(this.#at)
  }

  get isPinned() {
    return this.#table.isPinned(this.#at)
  }

  get isInUse() {
    return this.#table.isInUse(this.#at)
  }

  get orphanSinceMillis() {
    return this.#table.orphanSinceOf(this.#at)
  }
}

function hexOf(number = 0): string {
  return number.toString(16).padStart(8, '0')
}
