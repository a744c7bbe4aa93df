import { sizeOf } from '../../checkpoint/generation.ts'
import { HashLane } from './hash-lane.ts'
import type { HashAnswer, HashRequest } from './hash-order.ts'

/** From this size on a digest takes seconds, or minutes. */
const LARGE_BYTES = 1024 ** 3

export function isLarge(generation: string): boolean {
  return sizeOf(generation) >= LARGE_BYTES
}

/** Hashes files, the large ones one after the other, and beside them the others: those do not wait for a giant. */
export class HashQueue {
  readonly #large = new HashLane()
  readonly #others = new HashLane()

  get length(): number {
    return this.#large.length + this.#others.length
  }

  /** Never rejects: a thread that dies fails the order it was at. `stopped` once the signal aborts. */
  hash(order: HashRequest, signal?: AbortSignal): Promise<HashAnswer> {
    return (isLarge(order.generation) ? this.#large : this.#others).hash(order, signal)
  }

  async close(): Promise<void> {
    await Promise.all([this.#large.close(), this.#others.close()])
  }
}
