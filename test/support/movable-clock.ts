import type { Clock } from '../../src/shared/clock.ts'

/** A clock that stands still until it is moved. */
export function movableClock(start = new Date()): Clock & { move: (millis: number) => void } {
  let now = start.getTime()
  return {
    now: () => new Date(now),
    move: (millis) => {
      now += millis
    },
  }
}
