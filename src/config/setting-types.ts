import { isAbsolute, normalize } from 'node:path'
import { z } from 'zod'
import {
  formatDuration,
  parseDuration,
  parsePercentage,
  parseSize,
  QuantityError,
  type DurationUnit,
} from '../shared/quantity.ts'

// Every source provides text (YAML scalars as written), so a value means the same in all of them.

// Longest duration of any setting. Node.js timers are limited to 24 days, and more than a week is
// always a mistake.
const LONGEST = '7d'

/** Parses a word of letters and digits, with `.`, `_`, `-` between them. */
export function word(options: { maxLength: number; optional?: boolean }) {
  const pattern = /^[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?$/
  return z
    .string()
    .refine((text) => (text === '' && options.optional === true) || pattern.test(text), {
      error: 'it must be letters and digits, with ".", "_" and "-" only between them',
      abort: true,
    })
    .refine((text) => text.length <= options.maxLength, {
      error: `it must not have more than ${options.maxLength} characters`,
    })
}

export function path() {
  return z.string().transform((text, context) => {
    const reason = pathProblem(text)
    if (reason === undefined) return tidyPath(text)
    context.addIssue(reason)
    return z.NEVER
  })
}

export function optionalPath() {
  return z.union([z.literal(''), path()], { error: (issue) => pathProblem(String(issue.input)) })
}

/** Explains why the text is not a usable path; undefined if it is one. */
export function pathProblem(text: string): string | undefined {
  if (text === '') return 'it must not be empty'
  if (!isAbsolute(text)) return 'it must be an absolute path, one that begins with "/"'
  return text.includes('\0') ? 'it must not hold a zero byte' : undefined
}

export function tidyPath(text: string): string {
  return normalize(text).replace(/(?<=.)\/+$/, '')
}

export function flag() {
  return z
    .string()
    .toLowerCase()
    .pipe(z.enum(['true', 'false'], { error: 'it must be true or false' }))
    .transform((text) => text === 'true')
}

export function mode<const Name extends string>(...names: readonly Name[]) {
  const list = `${names.slice(0, -1).join(', ')} or ${names.at(-1)}`
  return z.enum(names as readonly [Name, ...Name[]], { error: `it must be ${list}` })
}

export function integer({ min, max }: { min: number; max: number }) {
  const error = `it must be a whole number from ${min} to ${max}`
  return z
    .string()
    .regex(/^\d{1,15}$/, { error, abort: true })
    .transform(Number)
    .pipe(z.number().min(min, { error }).max(max, { error }))
}

/** Parses a factor; undefined if the text is empty. */
export function optionalFactor({ max }: { max: number }) {
  const error = `it must be a number greater than 0 and not more than ${max}, such as 4 or 2.5`
  return z
    .string()
    .regex(/^(?:\d{1,6}(?:\.\d{1,6})?)?$/, { error, abort: true })
    .transform((text) => (text === '' ? undefined : Number(text)))
    .pipe(z.number().gt(0, { error }).max(max, { error }).optional())
}

/**
 * Parses a duration to milliseconds. The message for a number without a unit suggests `usualUnit`.
 */
export function duration(options: { min: string; wholeSeconds?: boolean; usualUnit?: DurationUnit }) {
  const { min, wholeSeconds = false, usualUnit } = options
  return quantity((text) => parseDuration(text, usualUnit)).pipe(
    z
      .number()
      .min(parseDuration(min), { error: `it must not be less than ${min}` })
      .max(parseDuration(LONGEST), { error: `it must not be more than ${LONGEST}` })
      .refine((millis) => !wholeSeconds || millis % 1000 === 0, {
        error: ({ input }) => `it must be whole seconds, not ${formatDuration(Number(input))}`,
      }),
  )
}

/** Parses a size to bytes. */
export function size() {
  return quantity(parseSize)
}

/** Parses a percentage to a fraction, at least 0 and less than 1. */
export function percentage() {
  return quantity(parsePercentage).pipe(z.number().lt(1, { error: 'it must be less than 100%' }))
}

function quantity(parse: (text: string) => number) {
  return z.string().transform((text, context) => {
    try {
      return parse(text)
    } catch (error) {
      if (!(error instanceof QuantityError)) throw error
      context.addIssue(error.reason)
      return z.NEVER
    }
  })
}
