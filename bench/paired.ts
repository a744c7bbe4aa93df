import { formatFigure, judge } from './bounds.ts'

export interface PairedRun {
  readonly name: string
  /** What is measured, and the peer that it is held against; each resolves with its own milliseconds. */
  readonly ours: () => Promise<number>
  readonly peer: () => Promise<number>
  readonly peerName: string
  readonly pairs: number
  /** The median ratio that is promised. */
  readonly bound: number
  /** How far beyond it the program fails, where the usual margin is too narrow. */
  readonly failingMargin?: number
  /** Each run begins with nothing of the one before: there is nothing to warm up. */
  readonly isCold?: boolean
}

export interface PairedResult {
  readonly ratio: number
  readonly oursMs: number
  readonly peerMs: number
}

/** Runs both sides by turns, the first of each pair changing, and prints the median of the pairs' ratios in one line. */
export async function comparePaired({
  name,
  ours,
  peer,
  peerName,
  pairs,
  bound,
  failingMargin,
  isCold = false,
}: PairedRun): Promise<PairedResult> {
  if (!isCold) {
    await ours()
    await peer()
  }
  const runs: { readonly oursMs: number; readonly peerMs: number }[] = []
  for (let pair = 0; pair < pairs; pair += 1) {
    if (pair % 2 === 0) {
      const oursMs = await ours()
      runs.push({ oursMs, peerMs: await peer() })
    } else {
      const peerMs = await peer()
      runs.push({ peerMs, oursMs: await ours() })
    }
  }
  const result = {
    ratio: median(runs.map(({ oursMs, peerMs }) => oursMs / peerMs)),
    oursMs: median(runs.map(({ oursMs }) => oursMs)),
    peerMs: median(runs.map(({ peerMs }) => peerMs)),
  }
  const ratio = `median ratio ${formatFigure(result.ratio)} (bound ${formatFigure(bound)}) ${judge(result.ratio, bound, failingMargin)}`
  const figures = `medians ${format(result.oursMs)} against ${format(result.peerMs)} for ${peerName}, ${pairs} pairs`
  console.log(`bench ${name}: ${ratio}; ${figures}`)
  return result
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const high = sorted[Math.floor(sorted.length / 2)] ?? Number.NaN
  const low = sorted[Math.ceil(sorted.length / 2) - 1] ?? Number.NaN
  return (low + high) / 2
}

export async function timed(work: () => Promise<unknown>): Promise<number> {
  const begun = performance.now()
  await work()
  return performance.now() - begun
}

function format(millis: number): string {
  return `${formatFigure(millis)} ms`
}
