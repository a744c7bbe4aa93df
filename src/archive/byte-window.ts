import { READ_AHEAD_BYTES, SEEK_READ_BYTES, WINDOW_BYTES } from './archive-limits.ts'
import type { ByteSource } from '../streams/byte-source.ts'

/**
 * The part of a source that is in memory, with some read-ahead. It moves forward only, so it serves streams as well.
 */
export class ByteWindow {
  readonly bytes: Buffer
  /** The same memory in words, for sums over whole blocks. */
  readonly words: Uint32Array
  readonly #source: ByteSource
  #start = 0
  #end = 0

  constructor(source: ByteSource) {
    this.#source = source
    this.bytes = spare.pop() ?? Buffer.allocUnsafeSlow(WINDOW_BYTES)
    this.words = new Uint32Array(this.bytes.buffer, 0, WINDOW_BYTES / 4)
  }

  get source(): ByteSource {
    return this.#source
  }

  /** Where this position stands in `bytes`. */
  index(position: number): number {
    return position - this.#start
  }

  holds(position: number, length: number): boolean {
    return position >= this.#start && position + length <= this.#end
  }

  /** Brings `length` bytes from this position on into the window. Gives how many there are, less only at the end. */
  async load(position: number, length: number): Promise<number> {
    if (this.holds(position, length)) return length
    this.#moveTo(position)
    const wish = this.#source.sizeBytes === undefined ? READ_AHEAD_BYTES : SEEK_READ_BYTES
    const target = Math.min(this.bytes.length, Math.max(wish, length))
    while (this.#end - this.#start < length) {
      const filled = this.#end - this.#start
      const reading = this.#source.read(this.bytes, filled, target - filled, this.#end)
      const bytesRead = typeof reading === 'number' ? reading : await reading
      if (bytesRead === 0) break
      this.#end += bytesRead
    }
    return Math.min(length, this.#end - this.#start)
  }

  /** The bytes themselves, valid until the next load; fewer than asked for only at the end. */
  async content(position: number, length: number): Promise<Buffer> {
    if (length > this.bytes.length) return await this.#largeContent(position, length)
    const there = this.holds(position, length) ? length : await this.load(position, length)
    const index = this.index(position)
    return this.bytes.subarray(index, index + there)
  }

  /** Gives the memory back for the next archive. */
  close(): void {
    if (spare.length < MAX_SPARE) spare.push(this.bytes)
  }

  #moveTo(position: number): void {
    const kept = Math.max(0, this.#end - position)
    if (kept > 0 && position >= this.#start) {
      this.bytes.copyWithin(0, position - this.#start, this.#end - this.#start)
      this.#end = position + kept
    } else {
      this.#end = position
    }
    this.#start = position
  }

  async #largeContent(position: number, length: number): Promise<Buffer> {
    const content = Buffer.allocUnsafeSlow(length)
    this.#moveTo(position)
    let filled = this.bytes.copy(content, 0, 0, this.#end - this.#start)
    while (filled < length) {
      const bytesRead = await this.#source.read(content, filled, length - filled, position + filled)
      if (bytesRead === 0) break
      filled += bytesRead
    }
    this.#start = position + filled
    this.#end = this.#start
    return content.subarray(0, filled)
  }
}

/** Archives are mostly read one after the other: a new megabyte for each would cost more than the reading. */
const spare: Buffer[] = []
const MAX_SPARE = 2
