/**
 * Space that an entry may use: `open` excludes the reserve, `reserve` includes it, and `always` is
 * written even if the log is full.
 */
export type CustodyRoom = 'open' | 'reserve' | 'always'

const RESERVED_SHARE = 0.1
const LEAST_RESERVE_BYTES = 16 * 1024 * 1024

/**
 * Returns the part of `custody.maxSize` that only captures, removals and the agent's own entries
 * may use.
 */
export function reserveBytes(maxBytes: number): number {
  return Math.min(Math.max(maxBytes * RESERVED_SHARE, LEAST_RESERVE_BYTES), maxBytes / 2)
}

/** Returns the size of the log from which such an entry is refused. */
export function roomBytes(maxBytes: number, room: CustodyRoom): number {
  if (room === 'always') return Number.POSITIVE_INFINITY
  return room === 'reserve' ? maxBytes : maxBytes - reserveBytes(maxBytes)
}
