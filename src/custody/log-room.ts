/**
 * How far an entry may fill the log: `open` leaves the reserve alone, `reserve` may use it, `always` is written to a full
 * log too.
 */
export type CustodyRoom = 'open' | 'reserve' | 'always'

const RESERVED_SHARE = 0.1
const LEAST_RESERVE_BYTES = 16 * 1024 * 1024

/** The part of `custody.maxSize` that only captures, removals and the agent's own entries may use. */
export function reserveBytes(maxBytes: number): number {
  return Math.min(Math.max(maxBytes * RESERVED_SHARE, LEAST_RESERVE_BYTES), maxBytes / 2)
}

/** How large the log may be before such an entry is refused. */
export function roomBytes(maxBytes: number, room: CustodyRoom): number {
  if (room === 'always') return Number.POSITIVE_INFINITY
  return room === 'reserve' ? maxBytes : maxBytes - reserveBytes(maxBytes)
}
