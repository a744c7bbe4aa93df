import type { ServerResponse } from 'node:http'
import type { Clock } from '../shared/clock.ts'

/** The longest that a timer can run. */
const MAX_TIMER_MS = 2 ** 31 - 1

/** A new answer may hold no longer than the old one. */
const MIN_PAUSE_MS = 100

/**
 * Asks again each time the answer by which this was allowed ends, until the response is closed. `again` gives the end of
 * the next answer; where it rejects, `end` is called.
 */
export function askAgain(
  response: ServerResponse,
  first: number,
  { again, end, clock }: { readonly again: () => Promise<number>; readonly end: () => void; readonly clock: Clock },
): void {
  let timer: NodeJS.Timeout | undefined
  let isClosed = response.destroyed
  const schedule = (until: number) => {
    if (isClosed || until === Number.POSITIVE_INFINITY) return
    const pause = Math.min(Math.max(until - clock.now().getTime(), MIN_PAUSE_MS), MAX_TIMER_MS)
    timer = setTimeout(() => void ask(), pause)
    timer.unref()
  }
  const ask = async () => {
    try {
      schedule(await again())
    } catch {
      if (!isClosed) end()
    }
  }
  response.once('close', () => {
    isClosed = true
    clearTimeout(timer)
  })
  schedule(first)
}
