import process from 'node:process'

/** A value beyond its bound by this much fails; what is closer is reported only, machines being noisy. */
export const FAILING_MARGIN = 1.5

/** What has no peer in the same run is only reported: a slow machine looks just like a slow program. */
const LONELY_MARGIN = Number.POSITIVE_INFINITY

export interface BoundedValue {
  readonly name: string
  readonly value: number
  readonly bound: number
  readonly unit: string
  /** What it was taken from. */
  readonly note: string
}

/** For what has no peer to be held against: prints the value in one line. */
export function reportBounded({ name, value, bound, unit, note }: BoundedValue): void {
  const figures = `${formatFigure(value)}${unit} (bound ${formatFigure(bound)}${unit})`
  console.log(`bench ${name}: ${figures} ${judge(value, bound, LONELY_MARGIN)}; ${note}`)
}

/** The word for it; far beyond the bound the program fails. */
export function judge(value: number, bound: number, failingMargin = FAILING_MARGIN): 'ok' | 'OVER' {
  // A bound of 0 has no margin: then the product is no number, and nothing is beyond it.
  if (Number.isNaN(value) || value > bound * failingMargin) process.exitCode = 1
  return value <= bound ? 'ok' : 'OVER'
}

/** Three digits, more only where they stand before the point. */
export function formatFigure(value: number): string {
  return Math.abs(value) >= 100 ? String(Math.round(value)) : String(Number(value.toPrecision(3)))
}

export function quantile(values: readonly number[], at: number): number {
  return values.toSorted((a, b) => a - b)[Math.ceil(values.length * at) - 1] ?? Number.NaN
}

/** At the end of the program. */
export function announceRunTime(name: string): void {
  process.once('exit', () => {
    console.log(`bench ${name}: took ${(performance.now() / 1000).toFixed(1)} s in all`)
  })
}
