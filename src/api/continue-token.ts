import { z } from 'zod'

/** Encodes the position where the next page begins. The token is opaque to callers. */
export function writeToken(position: object): string {
  const bytes = new TextEncoder().encode(JSON.stringify(position))
  return bytes.toBase64({ alphabet: 'base64url', omitPadding: true })
}

/** Builds the schema of the query parameter `continue` of a list whose positions have this shape. */
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
    const bytes = Uint8Array.fromBase64(token, { alphabet: 'base64url' })
    return JSON.parse(new TextDecoder().decode(bytes))
  } catch {
    return undefined
  }
}
