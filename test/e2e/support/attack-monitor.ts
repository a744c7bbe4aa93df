/**
 * A program: `attack-monitor.ts PID PORT` asks an agent for its health 50 times a second and adds up the memory of the
 * agent and its children, in a process of its own, so that it is not held up by what the test does. Each line on its
 * standard input begins a phase; it answers with the figures of the phase before, as one line of JSON.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { Agent, request } from 'node:https'
import { createInterface } from 'node:readline'

export interface Figures {
  readonly asked: number
  /** Why there was no answer of 200, for each of them. */
  readonly failed: readonly string[]
  readonly p50: number
  readonly p99: number
  readonly slowest: number
  /** How late the monitor's own timers are: what a busy machine adds to each figure. */
  readonly lagP99: number
  /** The agent and its children together, at most. */
  readonly peakMib: number
}

const ASK_EVERY_MS = 20
const LOOK_EVERY_MS = 100

const [pid = 0, port = 0] = process.argv.slice(2).map(Number)
// Enough that a slow answer delays none of the next.
const agent = new Agent({ keepAlive: true, maxSockets: 400 })
let phase = newPhase()
let dueAt = performance.now() + ASK_EVERY_MS

setInterval(ask, ASK_EVERY_MS)
setInterval(look, LOOK_EVERY_MS)
createInterface({ input: process.stdin })
  .on('line', () => {
    const ended = phase
    phase = newPhase()
    // What is still under way is as slow as it is by now.
    const now = performance.now()
    const millis = [...ended.millis, ...[...ended.pending].map((began) => now - began)].toSorted((a, b) => a - b)
    const at = (fraction: number, of = millis) => Math.round(of[Math.ceil(of.length * fraction) - 1] ?? 0)
    const lags = ended.lags.toSorted((a, b) => a - b)
    const figures: Figures = {
      asked: millis.length,
      failed: ended.failed,
      p50: at(0.5),
      p99: at(0.99),
      slowest: at(1),
      lagP99: at(0.99, lags),
      peakMib: Math.round(ended.peakKib / 1024),
    }
    console.log(JSON.stringify(figures))
  })
  .on('close', () => process.exit())

function newPhase() {
  return {
    millis: [] as number[],
    lags: [] as number[],
    pending: new Set<number>(),
    failed: [] as string[],
    peakKib: 0,
  }
}

function ask(): void {
  const mine = phase
  const began = performance.now()
  mine.lags.push(Math.max(0, began - dueAt))
  dueAt = began + ASK_EVERY_MS
  mine.pending.add(began)
  const end = (failure?: string) => {
    if (!mine.pending.delete(began)) return
    mine.millis.push(performance.now() - began)
    if (failure !== undefined) mine.failed.push(failure)
  }
  const sent = request({ host: '127.0.0.1', port, path: '/healthz', agent, rejectUnauthorized: false }, (answer) => {
    answer.resume().on('close', () => {
      end(answer.complete ? (answer.statusCode === 200 ? undefined : String(answer.statusCode)) : 'cut')
    })
  })
  sent.on('error', ({ message }) => end(message)).end()
}

function look(): void {
  const kib = familyOf(pid).reduce((sum, each) => sum + pssKib(each), 0)
  phase.peakKib = Math.max(phase.peakKib, kib)
}

/** The process and all below it. */
function familyOf(root: number): readonly number[] {
  const parents = new Map<number, number>()
  for (const entry of readdirSync('/proc')) {
    const stat = /^\d+$/.test(entry) ? textOf(`/proc/${entry}/stat`) : ''
    const parent = /^\d+ \(.*\) \S (\d+)/s.exec(stat)?.[1]
    if (parent !== undefined) parents.set(Number(entry), Number(parent))
  }
  const family = [root]
  for (const member of family) for (const [child, parent] of parents) if (parent === member) family.push(child)
  return family
}

/** Shared pages count once for all that share them. */
function pssKib(process: number): number {
  return Number(/^Pss:\s+(\d+) kB$/m.exec(textOf(`/proc/${String(process)}/smaps_rollup`))?.[1] ?? 0)
}

function textOf(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    // It has ended.
    return ''
  }
}
