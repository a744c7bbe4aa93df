import type { ReaderChild } from './reader-child.ts'
import { readMemory, readTimes } from './process-figures.ts'
import { ALONE_SHARE, MAX_READERS_BYTES, WATCH_MS } from './reader-limits.ts'

/** CPU time that a reader may use for one archive. */
interface CpuBudget {
  readonly budgetMs: number
  /** CPU time that the process had used at the start. */
  readonly begunMs: number
}

export interface ReaderWatchOptions {
  readonly maxBytes?: number
}

/**
 * Watches the readers from outside while one of them works, since Node.js limits neither memory outside its heap nor
 * CPU time. A reader above its limit is ended.
 */
export class ReaderWatch {
  readonly #maxBytes: number
  readonly #readers = new Map<ReaderChild, CpuBudget | undefined>()
  #timer: NodeJS.Timeout | undefined
  /** Largest memory seen, for tests and figures. */
  peakBytes = 0

  constructor({ maxBytes = MAX_READERS_BYTES }: ReaderWatchOptions = {}) {
    this.#maxBytes = maxBytes
  }

  add(reader: ReaderChild): void {
    this.#readers.set(reader, undefined)
    void this.#forgetAtEnd(reader)
    this.#start()
  }

  /** Starts a CPU budget for the reader. */
  begin(reader: ReaderChild, budgetMs: number): void {
    this.#readers.set(reader, { budgetMs, begunMs: readTimes(reader.pid)?.cpuMs ?? 0 })
    this.#start()
  }

  finish(reader: ReaderChild): void {
    if (this.#readers.has(reader)) this.#readers.set(reader, undefined)
  }

  async #forgetAtEnd(reader: ReaderChild): Promise<void> {
    await reader.ended
    this.#readers.delete(reader)
  }

  #start(): void {
    this.#timer ??= setInterval(() => this.#look(), WATCH_MS).unref()
  }

  #stop(): void {
    clearInterval(this.#timer)
    this.#timer = undefined
  }

  #look(): void {
    const isAtWork = [...this.#readers].some(([reader, budget]) => reader.isBusy || budget !== undefined)
    this.#lookAtMemory()
    // A reader that has just finished may still hold memory. Its next request starts the watch again.
    if (!isAtWork) {
      this.#stop()
      return
    }
    for (const [reader, budget] of this.#readers) {
      if (budget === undefined) continue
      const times = readTimes(reader.pid)
      if (times !== undefined && times.cpuMs - budget.begunMs > budget.budgetMs) reader.end('cpu')
    }
  }

  /** Ends the largest readers until the others are within the limit. */
  #lookAtMemory(): void {
    const all = [...this.#readers.keys()].flatMap((reader) => {
      const memory = reader.isAlive ? readMemory(reader.pid) : undefined
      return memory === undefined ? [] : [{ reader, ...memory }]
    })
    let bytes = Math.max(0, ...all.map(({ sharedBytes }) => sharedBytes))
    for (const { ownBytes } of all) bytes += ownBytes
    this.peakBytes = Math.max(this.peakBytes, bytes)
    const byOwn = all.toSorted((a, b) => b.ownBytes - a.ownBytes)
    for (const { reader, ownBytes, sharedBytes } of byOwn) {
      if (bytes <= this.#maxBytes) return
      reader.end(ownBytes + sharedBytes > this.#maxBytes * ALONE_SHARE ? 'memory' : 'room')
      bytes -= ownBytes
    }
  }
}
