import { z } from 'zod'

/**
 * What requests and answers of the HTTP API have in common; each subject has a file of its own beside this one. The
 * schemas check what comes in, the OpenAPI document is made of them, and the types are for everyone who speaks to the
 * agent. Fields are only ever added; what is not known is absent.
 */

export const time = z.iso.datetime()
export const bytes = z.int().nonnegative()
export const count = z.int().nonnegative()

/** Longer than any name in Kubernetes, since a byte that cannot be shown is written as four characters or more. */
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
  .describe('Give it back as `continue` to get the next page; absent on the last one')

/** Other than a coerced one it takes neither an empty text nor hexadecimal nor a fraction for a number. */
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

/** How many rows of a list are on one page. */
export const pageLimit = wholeNumber({ min: 1, max: 1000 }).default(100)

export const page = {
  limit: pageLimit,
  continue: z.string().optional().describe('From the page before'),
}

export const noQuery = z.strictObject({})
