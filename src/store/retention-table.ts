import { engineOf, stateOf } from './checkpoint-row.ts'
import { RetentionIdentities, type RetentionIdentity } from './retention-identities.ts'

/** Of one archive, what retention goes by. */
export interface RetentionRow {
  readonly id: string
  readonly fileName: string
  readonly generation: string
  readonly state: ReturnType<typeof stateOf>
  readonly identity: RetentionIdentity
  readonly engine: ReturnType<typeof engineOf>
  readonly sizeBytes: number
  readonly takenAtMillis: number
  /** When the file was last written, as its generation says. */
  readonly modifiedAtMillis: number
  readonly isPinned: boolean
  readonly isInUse: boolean
  /** Since when its pod has been seen to be gone. */
  readonly orphanSinceMillis: number | undefined
}

/** When rows are read, and what the index does not know of that moment. */
export interface RetentionMoment {
  readonly nowMillis: number
  /** By id. */
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
  /** Whether it is pinned, its engine and its state, a byte each; then the identity's source, and a bit if it is believed. */
  marks: number,
  sizeBytes: number,
  takenAt: number,
  modifiedAt: number,
]

/** What the rows refer to. */
export interface RetentionContext {
  readonly moment: RetentionMoment
  /** For how long a pod has been seen to be gone, by the number of its UID. */
  readonly goneMillis: ReadonlyMap<number, number>
  readonly nameOf: (number: number) => string | undefined
  readonly textsOf: (rowId: number) => RowTexts | undefined
}

interface RowTexts {
  readonly generation: string
  readonly fileName: string
}

/**
 * What was read of all archives, beside the heap: 100,000 rows as objects of their own are copied and marked over and
 * over, which takes longer than the plan.
 */
export class RetentionTable {
  readonly #context: RetentionContext
  readonly #identities: RetentionIdentities
  /** Read so far, by row. */
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
  /** NaN: nobody has seen that its pod is gone. */
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

/** A look at one row of the table. */
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
