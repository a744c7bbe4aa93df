import { READ_AHEAD_BYTES, SEEK_READ_BYTES, WINDOW_BYTES } from './archive-limits.ts'
import type { ByteSource } from '../streams/byte-source.ts'

/**
 * A part of a source in memory, with some read-ahead. It only moves forward, so that streams work
 * too.
 */
export class ByteWindow {
  readonly bytes: Buffer
  /** The same memory as 32-bit words, for sums over whole blocks. */
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

  /** Converts a position in the source to an index in `bytes`. */
  index(position: number): number {
    return position - this.#start
  }

  holds(position: number, length: number): boolean {
    return position >= this.#start && position + length <= this.#end
  }

  /**
   * Loads `length` bytes from this position. Returns the number of bytes available, which is
   * smaller only at the end.
   */
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

  /** Returns the bytes, valid until the next load; fewer than requested only at the end. */
  async content(position: number, length: number): Promise<Buffer> {
    if (length > this.bytes.length) return await this.#largeContent(position, length)
    const there = this.holds(position, length) ? length : await this.load(position, length)
    const index = this.index(position)
    return this.bytes.subarray(index, index + there)
  }

  /** Returns the memory for use by the next archive. */
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

/**
 * Buffers for reuse. Archives are mostly read one after another, and allocating a megabyte for each
 * would cost more than reading.
 */
const spare: Buffer[] = []
const MAX_SPARE = 2
