import { Worker } from 'node:worker_threads'
import type { HashAnswer, HashRequest } from './hash-order.ts'

/** Time after which an idle worker ends. It takes about 15 MB. */
const IDLE_MS = 5_000

interface Waiting {
  readonly order: HashRequest
  readonly resolve: (answer: HashAnswer) => void
}

/** Hashes files one after another in its own thread. */
export class HashLane {
  readonly #waiting: Waiting[] = []
  readonly #stopFlag = new SharedArrayBuffer(4)
  #worker: Worker | undefined
  #current: Waiting | undefined
  #idleTimer: NodeJS.Timeout | undefined
  #isClosed = false

  get length(): number {
    return this.#waiting.length + (this.#current === undefined ? 0 : 1)
  }

  /**
   * Hashes a file. Never rejects: if the worker dies, its current request fails. Answers `stopped` once the signal
   * aborts.
   */
  hash(order: HashRequest, signal?: AbortSignal): Promise<HashAnswer> {
    if (this.#isClosed || signal?.aborted === true) return Promise.resolve({ kind: 'stopped' })
    const { promise, resolve } = Promise.withResolvers<HashAnswer>()
    const stop = () => this.#stop(waiting)
    const waiting: Waiting = {
      order,
      resolve: (answer) => {
        signal?.removeEventListener('abort', stop)
        resolve(answer)
      },
    }
    signal?.addEventListener('abort', stop, { once: true })
    this.#waiting.push(waiting)
    this.#next()
    return promise
  }

  async close(): Promise<void> {
    this.#isClosed = true
    clearTimeout(this.#idleTimer)
    for (const { resolve } of this.#waiting.splice(0)) resolve({ kind: 'stopped' })
    Atomics.store(new Int32Array(this.#stopFlag), 0, 1)
    const worker = this.#worker
    this.#worker = undefined
    await worker?.terminate()
    this.#answer({ kind: 'stopped' })
  }

  /** Stops a request. The current request ends at the next check of the worker. */
  #stop(waiting: Waiting): void {
    if (waiting === this.#current) {
      Atomics.store(new Int32Array(this.#stopFlag), 0, 1)
      return
    }
    const at = this.#waiting.indexOf(waiting)
    if (at !== -1) this.#waiting.splice(at, 1)
    waiting.resolve({ kind: 'stopped' })
  }

  #next(): void {
    if (this.#current !== undefined) return
    const next = this.#waiting.shift()
    if (next === undefined) {
      this.#idleTimer ??= setTimeout(() => this.#endIdleWorker(), IDLE_MS).unref()
      return
    }
    clearTimeout(this.#idleTimer)
    this.#idleTimer = undefined
    this.#current = next
    this.#worker ??= this.#startWorker()
    this.#worker.postMessage(next.order)
  }

  #startWorker(): Worker {
    const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js'
    const worker = new Worker(new URL(`./hash-worker.${extension}`, import.meta.url), {
      workerData: this.#stopFlag,
      // Modules preloaded for the process are not needed in its threads.
      execArgv: [],
      resourceLimits: { maxYoungGenerationSizeMb: 1, maxOldGenerationSizeMb: 16, stackSizeMb: 1 },
      env: {},
    })
    worker.unref()
    worker.on('message', (answer: HashAnswer) => {
      this.#answer(answer)
    })
    worker.on('error', () => {
      this.#lose(worker)
    })
    worker.on('exit', () => {
      this.#lose(worker)
    })
    return worker
  }

  #lose(worker: Worker): void {
    if (this.#worker !== worker) return
    this.#worker = undefined
    this.#answer({ kind: 'failed', code: 'WorkerDied' })
  }

  #answer(answer: HashAnswer): void {
    const current = this.#current
    this.#current = undefined
    current?.resolve(answer)
    if (this.#isClosed) return
    // The flag was set for the request that has ended. The worker has no other request yet.
    Atomics.store(new Int32Array(this.#stopFlag), 0, 0)
    this.#next()
  }

  #endIdleWorker(): void {
    this.#idleTimer = undefined
    const worker = this.#worker
    this.#worker = undefined
    void worker?.terminate()
  }
}
