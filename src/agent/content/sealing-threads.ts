import { availableParallelism } from 'node:os'
import { Worker } from 'node:worker_threads'
import { type ChunkRequest, sealChunks } from '../../encryption/age-payload.ts'

export interface SealingRequest extends ChunkRequest {
  readonly id: number
}

export interface SealingAnswer {
  readonly id: number
  readonly length: number
}

/** Encrypts chunks from one shared buffer into another and resolves with the encrypted length. */
export type Seal = (order: ChunkRequest) => Promise<number>

/** Encrypts on this thread, for content that is encrypted before another thread could start. */
export const sealHere: Seal = (order) => Promise.resolve(sealChunks(order))

/** Maximum number of threads. On two processors only one is used, which leaves the other for reading and sending. */
const MAX_THREADS = 2

/** Idle threads are ended after this time. Each takes about 15 MB. */
const IDLE_MS = 5_000

interface Waiting {
  readonly resolve: (length: number) => void
  readonly reject: (error: Error) => void
}

interface Thread {
  readonly worker: Worker
  readonly waiting: Map<number, Waiting>
}

/** Runs threads that encrypt for all downloads. They start on demand. */
export class SealingThreads {
  readonly #size: number
  #threads: Thread[] = []
  #nextId = 0
  #idleTimer: NodeJS.Timeout | undefined
  #isClosed = false

  constructor(size = Math.max(1, Math.min(MAX_THREADS, availableParallelism() - 1))) {
    this.#size = size
  }

  readonly seal: Seal = (order) => {
    if (this.#isClosed) return Promise.reject(new Error('the agent is ending'))
    clearTimeout(this.#idleTimer)
    this.#idleTimer = undefined
    const { promise, resolve, reject } = Promise.withResolvers<number>()
    const thread = this.#leastBusy()
    const id = (this.#nextId += 1)
    thread.waiting.set(id, { resolve, reject })
    thread.worker.postMessage({ id, ...order } satisfies SealingRequest)
    return promise
  }

  async close(): Promise<void> {
    this.#isClosed = true
    clearTimeout(this.#idleTimer)
    await Promise.all(this.#threads.map(({ worker }) => worker.terminate()))
  }

  #leastBusy(): Thread {
    if (this.#threads.length < this.#size && this.#threads.every(({ waiting }) => waiting.size > 0)) {
      this.#threads.push(this.#startThread())
    }
    return this.#threads.reduce((least, thread) => (thread.waiting.size < least.waiting.size ? thread : least))
  }

  #startThread(): Thread {
    const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js'
    const worker = new Worker(new URL(`./sealing-worker.${extension}`, import.meta.url), {
      // Modules preloaded for the process are not needed in its threads.
      execArgv: [],
      // Encryption leaves garbage mostly outside the heap. A small young generation makes the collector run soon
      // enough.
      resourceLimits: { maxYoungGenerationSizeMb: 1 },
    })
    const thread: Thread = { worker, waiting: new Map() }
    worker.unref()
    worker.on('message', ({ id, length }: SealingAnswer) => {
      thread.waiting.get(id)?.resolve(length)
      thread.waiting.delete(id)
      if (this.#threads.every(({ waiting }) => waiting.size === 0)) this.#endWhenIdle()
    })
    worker.on('error', () => this.#lose(thread))
    worker.on('exit', () => this.#lose(thread))
    return thread
  }

  #lose(thread: Thread): void {
    this.#threads = this.#threads.filter((other) => other !== thread)
    for (const { reject } of thread.waiting.values()) reject(new Error('the thread that encrypts has ended'))
    thread.waiting.clear()
  }

  #endWhenIdle(): void {
    this.#idleTimer ??= setTimeout(() => {
      this.#idleTimer = undefined
      for (const { worker } of this.#threads.splice(0)) void worker.terminate()
    }, IDLE_MS).unref()
  }
}
