// oxlint-disable-next-line no-restricted-imports -- the agent's own code, run by the same Node.js: decision 13
import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { UnavailableError } from '../../shared/errors.ts'
import type { PlannedDisk } from '../../retention/plan-types.ts'
import type { Policy } from '../../retention/policy.ts'
import type { PlanAnswer, PlanRequest } from './plan-messages.ts'
import type { OpenPlan } from '../../http/retention-services.ts'

/** Time after which an idle process ends. It holds all rows while a plan is open. */
const IDLE_MS = 5_000

export interface PlanInput {
  readonly policy: Policy
  readonly nowMillis: number
  readonly disk: PlannedDisk
  readonly inUse: readonly string[]
  readonly withKept?: boolean
}

type Ask<Kind extends PlanRequest['kind']> = Omit<Extract<PlanRequest, { kind: Kind }>, 'number'>
type AnyAsk = { [Kind in PlanRequest['kind']]: Ask<Kind> }[PlanRequest['kind']]

/** Computes plans in a separate process that reads the index itself. Sending the rows to it would block the agent. */
export class PlanLane {
  readonly #indexFile: string
  readonly #waiting = new Map<number, PromiseWithResolvers<PlanAnswer>>()
  readonly #open = new Set<number>()
  #numbers = 0
  #planner: ChildProcess | undefined
  #idleTimer: NodeJS.Timeout | undefined
  #isClosed = false

  constructor(indexFile: string) {
    this.#indexFile = indexFile
  }

  /** Computes a plan. Throws UnavailableError (`PlanFailed`). */
  async plan(input: PlanInput): Promise<OpenPlan> {
    const plan = ++this.#numbers
    this.#open.add(plan)
    try {
      const answer = await this.#ask({ kind: 'plan', plan, ...input })
      if (answer.kind !== 'head') throw failed(answer)
      return {
        head: answer.head,
        page: (list, { skip, count }) => this.#page({ kind: 'page', plan, list, skip, count }),
        [Symbol.dispose]: () => {
          this.#close(plan)
        },
      }
    } catch (error) {
      this.#close(plan)
      throw error
    }
  }

  async close(): Promise<void> {
    this.#isClosed = true
    clearTimeout(this.#idleTimer)
    await this.#end('the agent is ending')
  }

  async #page(ask: Ask<'page'>) {
    const answer = await this.#ask(ask)
    if (answer.kind !== 'page') throw failed(answer)
    return answer.page
  }

  #close(plan: number): void {
    if (!this.#open.delete(plan) || this.#planner === undefined) return
    void this.#ask({ kind: 'close', plan })
  }

  #ask(ask: AnyAsk): Promise<PlanAnswer> {
    clearTimeout(this.#idleTimer)
    if (this.#isClosed) return Promise.resolve({ number: 0, kind: 'failed', error: 'the agent is ending' })
    const number = ++this.#numbers
    const waiting = Promise.withResolvers<PlanAnswer>()
    this.#waiting.set(number, waiting)
    this.#planner ??= this.#start()
    this.#planner.send({ ...ask, number } satisfies PlanRequest, noteSent)
    return waiting.promise
  }

  #start(): ChildProcess {
    const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js'
    const program = fileURLToPath(new URL(`./plan-process.${extension}`, import.meta.url))
    const planner = fork(program, [this.#indexFile], {
      // The agent's own flags keep the heap small.
      execArgv: [],
      env: {},
      serialization: 'advanced',
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    })
    planner.unref()
    planner.channel?.unref()
    planner.on('message', (answer: PlanAnswer) => {
      this.#waiting.get(answer.number)?.resolve(answer)
      this.#waiting.delete(answer.number)
      this.#restSoon()
    })
    const lose = (why: string) => {
      if (this.#planner === planner) void this.#end(why)
    }
    planner.on('error', (error) => {
      lose(String(error))
    })
    planner.on('exit', (code, signal) => {
      lose(`its process has ended (${signal ?? code})`)
    })
    return planner
  }

  #restSoon(): void {
    clearTimeout(this.#idleTimer)
    if (this.#waiting.size > 0 || this.#open.size > 0) return
    this.#idleTimer = setTimeout(() => void this.#end('nothing to do'), IDLE_MS).unref()
  }

  /** Ends the process. Its open plans are lost. */
  async #end(why: string): Promise<void> {
    const planner = this.#planner
    this.#planner = undefined
    for (const [number, { resolve }] of this.#waiting) resolve({ number, kind: 'failed', error: why })
    this.#waiting.clear()
    // The process only reads, so it has nothing to finish.
    if (planner?.kill('SIGKILL') !== true) return
    planner.ref()
    await once(planner, 'exit')
  }
}

/** Ignores a failed send: the process has ended, and its exit is reported. */
function noteSent(): void {}

function failed(answer: PlanAnswer): UnavailableError {
  const why = answer.kind === 'failed' ? answer.error : `the answer is a ${answer.kind}`
  return new UnavailableError(`Cannot plan what to remove: ${why}`, {
    code: 'PlanFailed',
    hint: 'Nothing was removed. Ask again; the log of the agent says more.',
  })
}
