import { z } from 'zod'

/** Where the next page begins. Callers get it as something that they have no reason to take apart. */
export function writeToken(position: object): string {
  return Buffer.from(JSON.stringify(position)).toString('base64url')
}

/** The parameter `continue` of a list whose positions are of this shape. */
export function continueToken<Position extends z.ZodType>(shape: Position) {
  return z
    .string()
    .transform((text, context): z.infer<Position> => {
      const position = shape.safeParse(parse(text))
      if (position.success) return position.data
      context.addIssue({ code: 'custom', message: 'is no token of a page of this list' })
      return z.NEVER
    })
    .optional()
}

function parse(token: string): unknown {
  try {
    return JSON.parse(Buffer.from(token, 'base64url').toString())
  } catch {
    return undefined
  }
}
