import { InvalidInputError } from './errors.ts'

/**
 * Reports a text that is not a quantity. `reason` suits messages that quote the text themselves.
 */
export class QuantityError extends InvalidInputError {
  readonly reason: string

  constructor(what: string, text: string, reason: string) {
    super(`Cannot parse ${what} "${text}": ${reason}`, { code: 'InvalidQuantity' })
    this.reason = reason
  }
}

const MILLIS = { d: 86_400_000, h: 3_600_000, m: 60_000, s: 1000, ms: 1 } as const

export type DurationUnit = keyof typeof MILLIS

const DURATION_UNITS = Object.keys(MILLIS) as DurationUnit[]

/**
 * Parses `90s`, `10m`, `1h30m`, `14d`, `500ms` to milliseconds. Larger units come first, each at
 * most once. The message for a bare number suggests `usualUnit`, because "14s" instead of "14d"
 * would be a dangerous suggestion.
 */
export function parseDuration(text: string, usualUnit?: DurationUnit): number {
  const fail = (reason: string) => new QuantityError('duration', text, reason)
  if (/^\d+$/.test(text)) {
    const examples = usualUnit === undefined ? `"${text}s" or "${text}m"` : `"${text}${usualUnit}"`
    throw fail(`it needs a unit, such as ${examples}`)
  }
  if (/^\d+\.\d+[a-z]+$/.test(text)) throw fail('it must be made of whole numbers: "1h30m", not "1.5h"')
  if (!/^(?:\d+(?:ms|[dhms]))+$/.test(text)) {
    throw fail('it must be whole numbers with the units d, h, m, s or ms, such as "90s" or "1h30m"')
  }
  let millis = 0
  let last = -1
  for (const [, digits, unit] of text.matchAll(/(\d+)(ms|[dhms])/g)) {
    const place = DURATION_UNITS.indexOf(unit as DurationUnit)
    if (place <= last) throw fail('its units must go from large to small, each at most once, such as "1h30m"')
    last = place
    millis += Number(digits) * MILLIS[unit as DurationUnit]
  }
  if (!Number.isSafeInteger(millis)) throw fail('it is too long')
  return millis
}

/** Formats milliseconds as the shortest text that `parseDuration` reads back unchanged. */
export function formatDuration(millis: number): string {
  let text = ''
  let rest = millis
  for (const unit of DURATION_UNITS) {
    const count = Math.floor(rest / MILLIS[unit])
    if (count > 0) text += `${count}${unit}`
    rest -= count * MILLIS[unit]
  }
  return text === '' ? '0s' : text
}

const BINARY_POWERS = ['Ki', 'Mi', 'Gi', 'Ti', 'Pi'] as const
const DECIMAL_POWERS = ['k', 'M', 'G', 'T', 'P'] as const

/** Parses `2GiB`, `2Gi`, `500M`, `500MB`, `1.5GiB` or plain bytes (`4096`) to bytes. */
export function parseSize(text: string): number {
  const fail = (reason: string) => new QuantityError('size', text, reason)
  const match = /^(\d+)(?:\.(\d{1,9}))?([kKMGTP]i?)?B?$/.exec(text)
  if (match === null) throw fail('it must be bytes, with or without a unit, such as "2GiB", "500M" or "4096"')
  const [, whole = '', decimals = '', unit = ''] = match
  // Computed in integers, because 0.1 has no exact binary form and sizes are exact.
  const scaled = BigInt(whole + decimals) * unitBytes(unit)
  const divisor = 10n ** BigInt(decimals.length)
  if (scaled % divisor !== 0n) throw fail('it is not a whole number of bytes')
  const bytes = scaled / divisor
  if (bytes > BigInt(Number.MAX_SAFE_INTEGER)) throw fail('it is too large')
  return Number(bytes)
}

/**
 * Formats bytes in the largest binary unit that divides them, so that `parseSize` reads the same
 * number back.
 */
export function formatSize(bytes: number): string {
  for (const [power, unit] of [...BINARY_POWERS.entries()].toReversed()) {
    const size = 1024 ** (power + 1)
    if (bytes >= size && bytes % size === 0) return `${bytes / size}${unit}B`
  }
  return String(bytes)
}

function unitBytes(unit: string): bigint {
  if (unit === '') return 1n
  const letter = unit[0] === 'K' ? 'k' : unit[0]
  const power = BigInt(DECIMAL_POWERS.findIndex((name) => name === letter) + 1)
  return unit.endsWith('i') ? 1024n ** power : 1000n ** power
}

/** Parses `5%` or `12.5%` to a fraction: 0.05, 0.125. */
export function parsePercentage(text: string): number {
  const fail = (reason: string) => new QuantityError('percentage', text, reason)
  if (/^\d+(?:\.\d+)?$/.test(text)) throw fail(`it needs a percent sign${percentageMeant(text)}`)
  if (!/^\d{1,3}(?:\.\d{1,6})?%$/.test(text)) throw fail('it must be a number with a percent sign, such as "5%"')
  const percent = Number(text.slice(0, -1))
  if (percent > 100) throw fail('it must not be more than 100%')
  return percent / 100
}

/** Suggests a percentage for a bare number: 0.85 means 85%, and 1 may mean 1% or 100%. */
function percentageMeant(text: string): string {
  const number = Number(text)
  if (number === 1) return ': "1%" or "100%"'
  return `, such as "${number > 0 && number < 1 ? formatPercentage(number) : `${text}%`}"`
}

/** Formats a fraction so that `parsePercentage` reads it back unchanged. */
export function formatPercentage(fraction: number): string {
  return `${Number((fraction * 100).toFixed(6))}%`
}
