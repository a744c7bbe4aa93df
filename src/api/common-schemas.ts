import { z } from 'zod'

// Schemas that several resources share. Those of a resource are in a file of its own. They check requests, describe the
// API in the OpenAPI document, and give clients their types. Later versions only add fields. A field whose value is
// unknown is omitted.

export const time = z.iso.datetime()
export const bytes = z.int().nonnegative()
export const count = z.int().nonnegative()

/** Longer than any name in Kubernetes: an unprintable byte is escaped as four or more characters. */
export const name = z.string().min(1).max(1024)

export const containerIdentity = z.object({
  namespace: z.string(),
  pod: z.string(),
  podUid: z.string(),
  container: z.string(),
  containerId: z.string(),
})

export const nextPage = z
  .string()
  .optional()
  .describe('Pass it as `continue` to get the next page; absent on the last page')

/** Accepts decimal digits only; a coerced number would also accept an empty text, hexadecimal and fractions. */
export function wholeNumber({
  min = 0,
  max = 999_999_999_999_999,
}: { readonly min?: number; readonly max?: number } = {}) {
  return z
    .string()
    .transform((text, context) => {
      const value = /^\d{1,15}$/.test(text) ? Number(text) : undefined
      if (value !== undefined && value >= min && value <= max) return value
      const bound = value === undefined ? 'a whole number' : value < min ? `at least ${min}` : `at most ${max}`
      context.addIssue({ code: 'custom', message: `must be ${bound}` })
      return z.NEVER
    })
    .meta({ type: 'integer', minimum: min, maximum: max })
}

/** Limits the rows on one page. */
export const pageLimit = wholeNumber({ min: 1, max: 1000 }).default(100)

export const page = {
  limit: pageLimit,
  continue: z.string().optional().describe('The token from the previous page'),
}

export const noQuery = z.strictObject({})
