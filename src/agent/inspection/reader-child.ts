// oxlint-disable-next-line no-restricted-imports -- the agent's own code, run by the same Node.js: decision 15
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import type { Readable, Writable } from 'node:stream'
import { encodeJson, type Frame, FrameDecoder } from './frame-codec.ts'
import { readTimes } from './process-figures.ts'
import type { CancelRequest, ReaderRequest } from './reader-messages.ts'
import type { ReaderProgram } from './reader-program.ts'

/**
 * Cause of a reader's end. `itself`: it crashed or sent an invalid answer. `elsewhere`: another program ended it.
 * `start`: it never became ready. `memory`, `cpu`: its watch ended it for its own use. `room`: its watch ended it for
 * the use of all readers together. `closed`: it was no longer needed.
 */
export type ReaderEnd = 'itself' | 'elsewhere' | 'start' | 'memory' | 'room' | 'cpu' | 'closed'

/** Cause of an unexpected end. */
export type ReaderLoss = Exclude<ReaderEnd, 'closed'>

/** Reports that a reader ended before it answered. */
export class ReaderEndedError extends Error {
  readonly end: ReaderEnd

  constructor(end: ReaderEnd, detail: string) {
    super(detail)
    this.name = 'ReaderEndedError'
    this.end = end
  }
}

export interface AskOptions {
  /** Called for each frame. Returns whether more frames follow. Throws if the frame is invalid. */
  readonly onFrame: (frame: Frame) => 'more' | 'done'
}

/** Time in which a cancelled reader must answer before it is ended. */
const CANCEL_MS = 300

/** Represents one reader process in the agent. It handles one request at a time. */
export class ReaderChild {
  readonly pid: number
  readonly startTicks: string
  /** Resolves with the cause once the process has ended. */
  readonly ended: Promise<ReaderEndedError>
  readonly #process: ChildProcess
  readonly #input: Writable
  readonly #output: Readable
  readonly #decoder = new FrameDecoder()
  readonly #ready = Promise.withResolvers<void>()
  #isReady = false
  #current: { readonly onFrame: AskOptions['onFrame']; readonly answer: PromiseWithResolvers<void> } | undefined
  #reason: ReaderEnd | undefined
  #lastWords = ''
  #ending: ReaderEndedError | undefined

  constructor(program: ReaderProgram) {
    const child = spawn(program.file, program.arguments, {
      cwd: '/',
      env: program.environment,
      stdio: ['pipe', 'pipe', 'pipe'],
      // The process has its own group, so that signals to the agent's group reach only the agent.
      detached: true,
    })
    this.#process = child
    this.#input = child.stdin
    this.#output = child.stdout
    this.pid = child.pid ?? 0
    this.startTicks = this.pid === 0 ? '' : (readTimes(this.pid)?.startTicks ?? '')
    this.#ready.promise.catch(() => undefined)
    const ended = Promise.withResolvers<ReaderEndedError>()
    this.ended = ended.promise
    child.once('error', (error) => {
      ended.resolve(this.#finish('start', error.message))
    })
    child.once('exit', (code, signal) => {
      const how = `it ended with ${signal ?? `exit code ${code}`}${this.#lastWords}`
      ended.resolve(this.#finish(endOf(signal, this.#isReady), how))
    })
    // Write errors are ignored because the end of the process reports them.
    child.stdin.on('error', () => undefined)
    child.stdout.on('data', (piece: Buffer) => {
      this.#take(piece)
    })
    child.stderr.on('data', (piece: Buffer) => {
      if (this.#lastWords === '') this.#lastWords = `: ${JSON.stringify(piece.toString('latin1', 0, MAX_WORDS))}`
    })
    this.#hold(false)
  }

  get isAlive(): boolean {
    return this.#ending === undefined && this.#reason === undefined
  }

  get isBusy(): boolean {
    return this.#current !== undefined
  }

  /** Resolves once the reader accepts requests. Throws ReaderEndedError. */
  async ready(): Promise<void> {
    this.#hold(true)
    try {
      await this.#ready.promise
    } finally {
      this.#hold(this.isBusy)
    }
  }

  /**
   * Sends a request and resolves with the last frame of the answer. Throws ReaderEndedError. Once the signal aborts,
   * the answer comes soon.
   */
  async ask(request: ReaderRequest | object, { onFrame }: AskOptions, signal?: AbortSignal): Promise<void> {
    if (this.#ending !== undefined) throw this.#ending
    if (this.#current !== undefined) throw new Error('the reader has a request already')
    const answer = Promise.withResolvers<void>()
    this.#current = { onFrame, answer }
    let timer: NodeJS.Timeout | undefined
    const cancel = () => {
      this.#input.write(encodeJson({ kind: 'cancel' } satisfies CancelRequest))
      timer = setTimeout(() => this.end('closed'), CANCEL_MS)
    }
    signal?.addEventListener('abort', cancel)
    this.#hold(true)
    try {
      this.#input.write(encodeJson(request))
      if (signal?.aborted === true) cancel()
      await answer.promise
    } finally {
      signal?.removeEventListener('abort', cancel)
      clearTimeout(timer)
      this.#current = undefined
      this.#hold(false)
    }
  }

  /** Ends the process immediately. The current request fails with this reason. */
  end(reason: ReaderEnd): void {
    if (!this.isAlive) return
    this.#reason = reason
    this.#process.kill('SIGKILL')
  }

  async close(): Promise<void> {
    this.end('closed')
    this.#hold(true)
    await this.ended
    if (!this.#output.closed) {
      this.#output.destroy()
      await once(this.#output, 'close')
    }
  }

  #take(piece: Buffer): void {
    if (!this.isAlive) return
    try {
      for (const frame of this.#decoder.add(piece)) this.#takeFrame(frame)
    } catch {
      // Invalid output means that content of the archive may control the reader, so its output is not trusted any more.
      this.end('itself')
    }
  }

  #takeFrame(frame: Frame): void {
    if (!this.#isReady) {
      if (frame.content.toString('latin1') !== READY) throw new Error('no greeting')
      this.#isReady = true
      this.#ready.resolve()
      return
    }
    if (this.#current === undefined) throw new Error('nobody asked')
    if (this.#current.onFrame(frame) === 'done') this.#current.answer.resolve()
  }

  #finish(end: ReaderEnd, detail: string): ReaderEndedError {
    this.#ending ??= new ReaderEndedError(this.#reason ?? end, detail)
    this.#ready.reject(this.#ending)
    this.#current?.answer.reject(this.#ending)
    return this.#ending
  }

  /** Sets whether the agent's event loop stays alive for this process. */
  #hold(isHeld: boolean): void {
    if (isHeld) this.#process.ref()
    else this.#process.unref()
    for (const stream of this.#process.stdio) {
      if (stream === null || stream === undefined || !('ref' in stream)) continue
      const handle = stream as unknown as { ref: () => void; unref: () => void }
      if (isHeld) handle.ref()
      else handle.unref()
    }
  }
}

const READY = '{"kind":"ready"}'
const MAX_WORDS = 300

function endOf(signal: NodeJS.Signals | null, wasReady: boolean): ReaderEnd {
  if (signal !== null && SENT_BY_OTHERS.has(signal)) return 'elsewhere'
  return wasReady ? 'itself' : 'start'
}

/**
 * Signals sent by other programs. All other signals are caused by the process itself. The kernel's OOM killer is in
 * this set because its victim is not always the cause.
 */
const SENT_BY_OTHERS: ReadonlySet<string> = new Set(['SIGKILL', 'SIGTERM', 'SIGINT', 'SIGHUP', 'SIGQUIT', 'SIGSTOP'])
