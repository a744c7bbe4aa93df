import type { Logger } from '../../shared/logger.ts'
import { ReaderChild, type ReaderLoss } from './reader-child.ts'
import type { ReaderLeftovers } from './reader-leftovers.ts'
import { REST_MS } from './reader-limits.ts'
import { readMemory, setPriorityOfThreads } from './process-figures.ts'
import type { ReaderProgram } from './reader-program.ts'
import type { ReaderWatch } from './reader-watch.ts'

export interface ReaderLaneOptions {
  readonly program: ReaderProgram
  readonly watch: ReaderWatch
  readonly leftovers: ReaderLeftovers
  readonly logger: Logger
  /** Called when a reader ended unexpectedly. */
  readonly onLost: (end: ReaderLoss) => void
  /** Maximum number of processes. Each is started on demand. */
  readonly size: number
  /** Priority as a `nice` value. */
  readonly priority?: number
  readonly restMs?: number
}

/** Memory that an idle reader may hold. A reader with more is ended, and another is started on demand. */
const MAX_IDLE_BYTES = 64 * 1024 * 1024

interface Waiting {
  readonly begin: () => void
}

/** Runs the readers for one kind of work. Waiting work is served in order. */
export class ReaderLane {
  readonly #options: ReaderLaneOptions
  readonly #waiting: Waiting[] = []
  readonly #idle: ReaderChild[] = []
  readonly #all = new Set<ReaderChild>()
  #inUse = 0
  #restTimer: NodeJS.Timeout | undefined
  #isClosed = false

  constructor(options: ReaderLaneOptions) {
    this.#options = options
  }

  get pids(): readonly number[] {
    return [...this.#all].map(({ pid }) => pid)
  }

  /** Whether new work can start without waiting. */
  get hasRoom(): boolean {
    return this.#inUse < this.#options.size
  }

  /** Runs the work with a reader of its own. Throws the signal's reason or the error of the work. */
  async use<T>(work: (reader: ReaderChild) => Promise<T>, signal?: AbortSignal): Promise<T> {
    await this.#enter(signal)
    try {
      const reader = this.#idle.pop() ?? this.#start()
      try {
        await reader.ready()
        signal?.throwIfAborted()
        return await work(reader)
      } finally {
        this.#giveBack(reader)
      }
    } finally {
      this.#leave()
    }
  }

  /** Ends all idle readers. */
  endIdle(): void {
    for (const reader of this.#idle.splice(0)) reader.end('closed')
  }

  warm(): void {
    if (this.#isClosed) return
    if (this.#all.size === 0) this.#idle.push(this.#start())
    this.#restSoon()
  }

  async close(): Promise<void> {
    this.#isClosed = true
    clearTimeout(this.#restTimer)
    await Promise.all([...this.#all].map((reader) => reader.close()))
  }

  async #enter(signal: AbortSignal | undefined): Promise<void> {
    signal?.throwIfAborted()
    if (this.#isClosed) throw new Error('the agent is ending')
    if (this.hasRoom) {
      this.#inUse += 1
      return
    }
    const turn = Promise.withResolvers<void>()
    const waiting: Waiting = { begin: turn.resolve }
    const leave = () => {
      const index = this.#waiting.indexOf(waiting)
      if (index < 0) return
      this.#waiting.splice(index, 1)
      turn.reject(signal?.reason)
    }
    this.#waiting.push(waiting)
    signal?.addEventListener('abort', leave)
    try {
      // The turn includes the place of the previous work.
      await turn.promise
    } finally {
      signal?.removeEventListener('abort', leave)
    }
  }

  #leave(): void {
    const next = this.#waiting.shift()
    if (next === undefined) this.#inUse -= 1
    else next.begin()
  }

  #start(): ReaderChild {
    if (this.#isClosed) throw new Error('the agent is ending')
    const { program, watch, leftovers, priority } = this.#options
    const reader = new ReaderChild(program)
    this.#all.add(reader)
    leftovers.note(reader.pid, reader.startTicks)
    watch.add(reader)
    void this.#forgetAtEnd(reader)
    if (priority !== undefined) {
      setPriorityOfThreads(reader.pid, priority)
      // Threads inherit the priority of the first one unless they started before it was set.
      reader.ready().then(
        () => setPriorityOfThreads(reader.pid, priority),
        () => undefined,
      )
    }
    return reader
  }

  async #forgetAtEnd(reader: ReaderChild): Promise<void> {
    const { leftovers, logger, onLost } = this.#options
    const { end, message } = await reader.ended
    if (end !== 'closed') {
      logger.warn({ pid: reader.pid, end, how: message }, 'A process that reads archives ended')
      onLost(end)
    }
    this.#all.delete(reader)
    const index = this.#idle.indexOf(reader)
    if (index >= 0) this.#idle.splice(index, 1)
    leftovers.forget(reader.pid)
  }

  #giveBack(reader: ReaderChild): void {
    this.#options.watch.finish(reader)
    const isSmall = (readMemory(reader.pid)?.ownBytes ?? Infinity) <= MAX_IDLE_BYTES
    if (reader.isAlive && isSmall && !reader.isBusy) this.#idle.push(reader)
    else reader.end('closed')
    this.#restSoon()
  }

  #restSoon(): void {
    clearTimeout(this.#restTimer)
    this.#restTimer = setTimeout(() => this.endIdle(), this.#options.restMs ?? REST_MS).unref()
  }
}
