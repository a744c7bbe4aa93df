import { describe, expect, it } from 'vitest'
import { chooseRecipients, MAX_RECIPIENTS } from '../../../src/agent/content/encryption-rule.ts'
import { AGE_IDENTITIES } from '../../support/age-program.ts'

const RULE = { isRequired: false, recipients: [] }

describe('chooseRecipients', () => {
  it('counts them before it parses any', () => {
    const wanted = Array.from({ length: MAX_RECIPIENTS + 1 }, (_, number) => `no recipient ${String(number)}`)
    expect(() => chooseRecipients(RULE, wanted)).toThrow(expect.objectContaining({ code: 'TooManyRecipients' }))
    expect(() => chooseRecipients(RULE, wanted.slice(1))).toThrow(expect.objectContaining({ code: 'InvalidRecipient' }))
  })

  it('counts one that is given again and again once', () => {
    const recipient = AGE_IDENTITIES[0]?.recipient ?? ''
    expect(
      chooseRecipients(
        RULE,
        Array.from({ length: 100 }, () => recipient),
      ),
    ).toHaveLength(1)
  })
})
