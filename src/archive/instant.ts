/** Nanoseconds since 1970, the resolution of the runtimes; a Date has only milliseconds. */
export type Instant = bigint

const NANOS_PER_MILLI = 1_000_000n
const NANOS_PER_SECOND = 1_000_000_000n
/** Largest value of 64 bits: 11 April 2262. */
const LATEST = 9_223_372_036_854_775_807n

/** Go's zero time, which runtimes write for an unknown time. */
const UNSET = '0001-01-01T00:00:00Z'

/**
 * Parses RFC 3339 with up to nine fractional digits. Returns `unset` for Go's zero time and for
 * 1970, and undefined for anything else that is not a time.
 */
export function parseInstant(text: string): Instant | 'unset' | undefined {
  if (text === UNSET) return 'unset'
  const found = RFC3339.exec(text)
  if (found === null) return undefined
  const [, date = '', fraction = '', zone = ''] = found
  const millis = Date.parse(`${date}Z`)
  // Date.parse accepts 31 February as a day in March.
  if (Number.isNaN(millis) || new Date(millis).getUTCDate() !== Number(date.slice(8, 10))) return undefined
  const offset = zoneOffsetMinutes(zone)
  if (offset === undefined) return undefined
  const nanos = BigInt(millis - offset * 60_000) * NANOS_PER_MILLI + BigInt(fraction.padEnd(9, '0'))
  if (nanos === 0n) return 'unset'
  return isInstant(nanos) ? nanos : undefined
}

/** Checks that the nanoseconds are after 1970 and fit 64 bits. */
export function isInstant(nanos: bigint): boolean {
  return nanos > 0n && nanos <= LATEST
}

/**
 * Formats ISO 8601 in UTC with as many fractional digits as necessary:
 * `2026-11-20T16:01:09.88171404Z`.
 */
export function formatInstant(instant: Instant): string {
  const seconds = new Date(Number(instant / NANOS_PER_MILLI)).toISOString().slice(0, 19)
  const fraction = String(instant % NANOS_PER_SECOND)
    .padStart(9, '0')
    .replace(/0+$/, '')
  return fraction === '' ? `${seconds}Z` : `${seconds}.${fraction}Z`
}

/** Converts to milliseconds for the index. */
export function instantToMillis(instant: Instant): number {
  return Number(instant / NANOS_PER_MILLI)
}

const RFC3339 = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)$/

function zoneOffsetMinutes(zone: string): number | undefined {
  if (zone === 'Z') return 0
  const hours = Number(zone.slice(1, 3))
  const minutes = Number(zone.slice(4, 6))
  if (hours > 23 || minutes > 59) return undefined
  return (zone.startsWith('-') ? -1 : 1) * (hours * 60 + minutes)
}
