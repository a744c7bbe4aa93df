import { engineOf, sourceOf, stateOf } from './checkpoint-row.ts'

/** Whose an archive is, as far as retention goes by it. */
export interface RetentionIdentity {
  readonly namespace: string | undefined
  readonly pod: string | undefined
  readonly container: string | undefined
  readonly source: ReturnType<typeof sourceOf>
  readonly isBelieved: boolean
}

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
  idHigh: number,
  idLow: number,
  /** `generation/fileName` */
  texts: string,
  state: number,
  engine: number,
  pinned: number,
  /** As JSON: namespace, pod, container, source, and 1 if it is believed. */
  identity: string,
  sizeBytes: number,
  takenAt: number,
  podUid: string | null,
]

/**
 * What was read of all archives, beside the heap: 100,000 rows as objects and texts of their own are copied and marked
 * over and over, which takes longer than the plan.
 */
export class RetentionTable {
  readonly #texts = new TextBlocks()
  readonly #identities = new Identities()
  readonly #idHigh: Uint32Array
  readonly #idLow: Uint32Array
  readonly #text: Float64Array
  readonly #states: Uint8Array
  readonly #engines: Uint8Array
  readonly #pinned: Uint8Array
  readonly #identity: Uint32Array
  readonly #sizes: Float64Array
  readonly #taken: Float64Array
  readonly #modified: Float64Array
  /** NaN: nobody has seen that its pod is gone. */
  readonly #gone: Float64Array
  readonly #moment: RetentionMoment
  #count = 0

  constructor(capacity: number, moment: RetentionMoment) {
    this.#moment = moment
    this.#idHigh = new Uint32Array(capacity)
    this.#idLow = new Uint32Array(capacity)
    this.#text = new Float64Array(capacity)
    this.#states = new Uint8Array(capacity)
    this.#engines = new Uint8Array(capacity)
    this.#pinned = new Uint8Array(capacity)
    this.#identity = new Uint32Array(capacity)
    this.#sizes = new Float64Array(capacity)
    this.#taken = new Float64Array(capacity)
    this.#modified = new Float64Array(capacity)
    this.#gone = new Float64Array(capacity)
  }

  add(columns: RetentionColumns, goneMillis: ReadonlyMap<string, number>): void {
    const at = this.#count++
    const [idHigh, idLow, texts, state, engine, pinned, identity, sizeBytes, takenAt, podUid] = columns
    this.#idHigh[at] = idHigh
    this.#idLow[at] = idLow
    this.#text[at] = this.#texts.add(texts)
    this.#states[at] = state
    this.#engines[at] = engine
    this.#pinned[at] = pinned
    this.#identity[at] = this.#identities.numberOf(identity)
    this.#sizes[at] = sizeBytes
    this.#taken[at] = takenAt
    this.#modified[at] = modifiedAt(texts)
    this.#gone[at] = (podUid === null ? undefined : goneMillis.get(podUid)) ?? Number.NaN
  }

  rows(): RetentionRow[] {
    return Array.from({ length: this.#count }, (_, at) => new TableRow(this, at))
  }

  idOf(at: number): string {
    return `${hexOf(this.#idHigh[at])}${hexOf(this.#idLow[at])}`
  }

  textsOf(at: number): readonly [generation: string, fileName: string] {
    const texts = this.#texts.read(this.#text[at] ?? 0)
    const slash = texts.indexOf('/')
    return [texts.slice(0, slash), texts.slice(slash + 1)]
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
    const { inUse } = this.#moment
    return inUse.size > 0 && inUse.has(this.idOf(at))
  }

  orphanSinceOf(at: number): number | undefined {
    const gone = this.#gone[at] ?? Number.NaN
    return Number.isNaN(gone) ? undefined : this.#moment.nowMillis - gone
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
    return this.#table.textsOf(this.#at)[1]
  }

  get generation() {
    return this.#table.textsOf(this.#at)[0]
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

/** The last part of a generation is in nanoseconds. */
function modifiedAt(texts: string): number {
  const slash = texts.indexOf('/')
  return Number(texts.slice(texts.lastIndexOf(':', slash) + 1, slash - 6))
}

const BLOCK_BYTES = 1024 ** 2
const LENGTH_BYTES = 4

/** Texts beside the heap, each with its length before it. One that is too long for a block has one of its own. */
class TextBlocks {
  readonly #blocks: Buffer[] = []
  #end = BLOCK_BYTES

  /** Where it lies. */
  add(text: string): number {
    // A character takes three bytes at most.
    const most = LENGTH_BYTES + 3 * text.length
    if (this.#end + most > BLOCK_BYTES) {
      this.#blocks.push(Buffer.allocUnsafeSlow(Math.max(BLOCK_BYTES, most)))
      this.#end = 0
    }
    const block = this.#blocks.at(-1) ?? Buffer.alloc(0)
    const place = (this.#blocks.length - 1) * BLOCK_BYTES + this.#end
    const length = block.write(text, this.#end + LENGTH_BYTES)
    block.writeUInt32LE(length, this.#end)
    this.#end += LENGTH_BYTES + length
    return place
  }

  read(place: number): string {
    const block = this.#blocks[Math.floor(place / BLOCK_BYTES)] ?? Buffer.alloc(0)
    const begin = (place % BLOCK_BYTES) + LENGTH_BYTES
    return block.toString('utf8', begin, begin + block.readUInt32LE(begin - LENGTH_BYTES))
  }
}

/** Each once, however many archives are of it. */
class Identities {
  readonly #identities: RetentionIdentity[] = []
  readonly #numbers = new Map<string, number>()

  numberOf(text: string): number {
    let number = this.#numbers.get(text)
    if (number === undefined) {
      number = this.#identities.push(toIdentity(text)) - 1
      this.#numbers.set(text, number)
    }
    return number
  }

  read(number = 0): RetentionIdentity {
    return this.#identities[number] ?? NOBODY
  }
}

const NOBODY: RetentionIdentity = {
  namespace: undefined,
  pod: undefined,
  container: undefined,
  source: 'unknown',
  isBelieved: false,
}

function toIdentity(text: string): RetentionIdentity {
  const [namespace, pod, container, source, isBelieved] = JSON.parse(text) as [
    namespace: string | null,
    pod: string | null,
    container: string | null,
    source: number,
    isBelieved: number,
  ]
  return {
    namespace: namespace ?? undefined,
    pod: pod ?? undefined,
    container: container ?? undefined,
    source: sourceOf(source),
    isBelieved: isBelieved === 1,
  }
}

function hexOf(number = 0): string {
  return number.toString(16).padStart(8, '0')
}
