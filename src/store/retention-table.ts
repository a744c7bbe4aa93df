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
  /** How long its pod has been gone. */
  readonly goneMillis: number | undefined
}

export type RetentionColumns = [
  idHigh: number,
  idLow: number,
  /** `generation/fileName` */
  texts: string,
  state: number,
  engine: number,
  /** The source of the identity, whether it is pinned, whether it is believed to be whose it says. */
  sourceAndMarks: number,
  namespace: string | null,
  pod: string | null,
  container: string | null,
  sizeBytes: number,
  takenAt: number,
  podUid: string | null,
]

const PINNED = 2
const BELIEVED = 1

/**
 * What was read of all archives, beside the heap. A thread has the small nursery that its process was given: 100,000 rows
 * as objects and texts of their own are copied and marked over and over, which takes longer than the plan.
 */
export class RetentionTable {
  readonly #texts = new TextBlocks()
  readonly #names = new Names()
  readonly #idHigh: Uint32Array
  readonly #idLow: Uint32Array
  readonly #text: Float64Array
  readonly #states: Uint8Array
  readonly #engines: Uint8Array
  readonly #sourceAndMarks: Uint8Array
  readonly #namespaces: Uint32Array
  readonly #pods: Uint32Array
  readonly #containers: Uint32Array
  readonly #sizes: Float64Array
  readonly #taken: Float64Array
  readonly #modified: Float64Array
  /** NaN: nobody has seen that its pod is gone. */
  readonly #gone: Float64Array
  #count = 0

  constructor(capacity: number) {
    this.#idHigh = new Uint32Array(capacity)
    this.#idLow = new Uint32Array(capacity)
    this.#text = new Float64Array(capacity)
    this.#states = new Uint8Array(capacity)
    this.#engines = new Uint8Array(capacity)
    this.#sourceAndMarks = new Uint8Array(capacity)
    this.#namespaces = new Uint32Array(capacity)
    this.#pods = new Uint32Array(capacity)
    this.#containers = new Uint32Array(capacity)
    this.#sizes = new Float64Array(capacity)
    this.#taken = new Float64Array(capacity)
    this.#modified = new Float64Array(capacity)
    this.#gone = new Float64Array(capacity)
  }

  add(columns: RetentionColumns, goneMillis: ReadonlyMap<string, number>): void {
    const at = this.#count++
    const [idHigh, idLow, texts, state, engine, sourceAndMarks, namespace, pod, container, size, takenAt, podUid] =
      columns
    this.#idHigh[at] = idHigh
    this.#idLow[at] = idLow
    this.#text[at] = this.#texts.add(texts)
    this.#states[at] = state
    this.#engines[at] = engine
    this.#sourceAndMarks[at] = sourceAndMarks
    this.#namespaces[at] = this.#names.numberOf(namespace)
    this.#pods[at] = this.#names.numberOf(pod)
    this.#containers[at] = this.#names.numberOf(container)
    this.#sizes[at] = size
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
    const sourceAndMarks = this.#sourceAndMarks[at] ?? 0
    return {
      namespace: this.#names.read(this.#namespaces[at]),
      pod: this.#names.read(this.#pods[at]),
      container: this.#names.read(this.#containers[at]),
      source: sourceOf(sourceAndMarks >> 2),
      isBelieved: (sourceAndMarks & BELIEVED) !== 0,
    }
  }

  isPinned(at: number): boolean {
    return ((this.#sourceAndMarks[at] ?? 0) & PINNED) !== 0
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

  goneMillisOf(at: number): number | undefined {
    const millis = this.#gone[at] ?? Number.NaN
    return Number.isNaN(millis) ? undefined : millis
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

  get goneMillis() {
    return this.#table.goneMillisOf(this.#at)
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

/** Each name once; number 0 is none. */
class Names {
  readonly #names: (string | undefined)[] = [undefined]
  readonly #numbers = new Map<string, number>()

  numberOf(name: string | null): number {
    if (name === null) return 0
    let number = this.#numbers.get(name)
    if (number === undefined) {
      number = this.#names.push(name) - 1
      this.#numbers.set(name, number)
    }
    return number
  }

  read(number = 0): string | undefined {
    return this.#names[number]
  }
}

function hexOf(number = 0): string {
  return number.toString(16).padStart(8, '0')
}
