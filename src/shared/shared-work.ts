import { CallerLeftError } from './errors.ts'

interface Run<Result> {
  readonly result: Promise<Result>
  readonly ending: AbortController
  callers: number
}

/**
 * Runs work once for all concurrent callers with the same key. The work is aborted when its last
 * caller leaves.
 */
export class SharedWork<Result> {
  readonly #runs = new Map<string, Run<Result>>()
  /** Callers that prefer joining a run to starting one. */
  readonly #hopeful = new Map<string, Set<AbortController>>()

  isRunning(key: string): boolean {
    return this.#runs.has(key)
  }

  /**
   * Joins the run of this key, or starts it. Rejects with CallerLeftError once `signal` aborts. The
   * signal passed to `work` aborts when all callers have left.
   */
  async join(key: string, work: (signal: AbortSignal) => Promise<Result>, signal?: AbortSignal): Promise<Result> {
    if (signal?.aborted === true) throw new CallerLeftError()
    const run = this.#runs.get(key) ?? this.#begin(key, work)
    run.callers += 1
    try {
      return await untilAborted(run.result, signal)
    } finally {
      run.callers -= 1
      if (run.callers === 0) {
        this.#forget(key, run)
        run.ending.abort(new CallerLeftError())
      }
    }
  }

  /** Runs `work` with a signal that aborts once a run of this key starts. */
  async unlessBegun<Value>(key: string, work: (begun: AbortSignal) => Promise<Value>): Promise<Value> {
    const hope = new AbortController()
    const hopes = this.#hopeful.get(key) ?? new Set()
    this.#hopeful.set(key, hopes.add(hope))
    try {
      return await work(hope.signal)
    } finally {
      hopes.delete(hope)
      if (hopes.size === 0 && this.#hopeful.get(key) === hopes) this.#hopeful.delete(key)
    }
  }

  #begin(key: string, work: (signal: AbortSignal) => Promise<Result>): Run<Result> {
    const ending = new AbortController()
    const result = work(ending.signal)
    const run = { result, ending, callers: 0 }
    this.#runs.set(key, run)
    // Also handles a rejection when no caller is left.
    const forget = () => this.#forget(key, run)
    result.then(forget, forget)
    for (const hope of this.#hopeful.get(key) ?? []) hope.abort()
    return run
  }

  #forget(key: string, run: Run<Result>): void {
    if (this.#runs.get(key) === run) this.#runs.delete(key)
  }
}

async function untilAborted<Result>(result: Promise<Result>, signal: AbortSignal | undefined): Promise<Result> {
  if (signal === undefined) return result
  const left = Promise.withResolvers<never>()
  const leave = () => left.reject(new CallerLeftError())
  signal.addEventListener('abort', leave, { once: true })
  try {
    return await Promise.race([result, left.promise])
  } finally {
    signal.removeEventListener('abort', leave)
  }
}
