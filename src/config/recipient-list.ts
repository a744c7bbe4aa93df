import { z } from 'zod'
import { parseAgeRecipient, recipientProblem } from '../encryption/age-recipient.ts'

/**
 * Parses age public keys, separated by commas or spaces, to a list of `age1…` in lowercase without
 * duplicates.
 */
export function recipientList() {
  return z.string().transform((text, context) => {
    const texts = text.split(/[\s,]+/).filter((part) => part !== '')
    for (const [index, part] of texts.entries()) {
      const reason = recipientProblem(part)
      if (reason === undefined) continue
      context.addIssue(texts.length === 1 ? reason : `number ${index + 1} is no recipient: ${reason}`)
      return z.NEVER
    }
    return [...new Set(texts.map((part) => parseAgeRecipient(part).text))]
  })
}
