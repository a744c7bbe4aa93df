import { sizeOf } from '../../checkpoint/generation.ts'
import { HashLane } from './hash-lane.ts'
import type { HashAnswer, HashRequest } from './hash-order.ts'

/** Size above which a digest takes seconds or minutes. */
const LARGE_BYTES = 1024 ** 3

export function isLarge(generation: string): boolean {
  return sizeOf(generation) >= LARGE_BYTES
}

/** Hashes files in two lanes, one for large files, so that other files do not wait for them. */
export class HashQueue {
  readonly #large = new HashLane()
  readonly #others = new HashLane()

  get length(): number {
    return this.#large.length + this.#others.length
  }

  /**
   * Hashes a file. Never rejects: if the thread dies, its current request fails. Answers `stopped` once the signal
   * aborts.
   */
  hash(order: HashRequest, signal?: AbortSignal): Promise<HashAnswer> {
    return (isLarge(order.generation) ? this.#large : this.#others).hash(order, signal)
  }

  async close(): Promise<void> {
    await Promise.all([this.#large.close(), this.#others.close()])
  }
}
