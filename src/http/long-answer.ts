import type { ServerResponse } from 'node:http'
import type { Clock } from '../shared/clock.ts'

/** Milliseconds that a timer can run at most. */
const MAX_TIMER_MS = 2 ** 31 - 1

/** Milliseconds between two checks at least, because a new decision may expire at once. */
const MIN_PAUSE_MS = 100

/**
 * Reauthorizes a response whenever the current decision expires, until the response is closed. `again` resolves with
 * the expiry of the new decision; if it rejects, `end` is called.
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
