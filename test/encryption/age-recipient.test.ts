import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { parseAgeRecipient } from '../../src/encryption/age-recipient.ts'
import { decodeBech32 } from '../../src/encryption/bech32.ts'
import { InvalidInputError } from '../../src/shared/errors.ts'
import { AGE_IDENTITIES } from '../support/age-program.ts'

const LETTERS = 'qpzry9x8gf2tvdw0s3jn54khce6mua7l'
const RECIPIENT = AGE_IDENTITIES[0]?.recipient ?? ''

describe('parseAgeRecipient', () => {
  it.each([
    ['in small letters', RECIPIENT],
    ['in capital letters', RECIPIENT.toUpperCase()],
  ])('takes a recipient %s', (_, text) => {
    const { text: read, publicBytes } = parseAgeRecipient(text)
    expect(read).toBe(RECIPIENT)
    expect(publicBytes).toEqual(decodeBech32(RECIPIENT).bytes)
    expect(publicBytes).toHaveLength(32)
  })

  it.each([
    { name: 'nothing', text: '', reason: 'it has no "1" between its kind and its data' },
    { name: 'a word', text: 'ada', reason: 'it has no "1" between its kind and its data' },
    { name: 'no kind', text: '1qqqqqq', reason: 'it has no "1" between its kind and its data' },
    { name: 'mixed letters', text: `A${RECIPIENT.slice(1)}`, reason: 'it mixes small and capital letters' },
    {
      name: 'a letter that Bech32 has not',
      text: RECIPIENT.replace('ym', 'yb'),
      reason: 'it holds a character that no such text has',
    },
    { name: 'a cut text', text: 'age1ym', reason: 'it is too short' },
    {
      name: 'a lost letter',
      text: RECIPIENT.replace('ym', 'y'),
      reason: 'its check sum is wrong: a character was lost or mistyped',
    },
    {
      name: 'a secret key',
      text: AGE_IDENTITIES[0]?.secret ?? '',
      reason: 'it is a secret key; the recipient is its public half',
    },
    { name: 'an SSH key', text: 'ssh-ed25519 AAAA', reason: 'it is an SSH key; only age keys are supported' },
    {
      name: 'another kind',
      text: 'split1checkupstagehandshakeupstreamerranterredcaperred2y9e3w',
      reason: 'it is of the kind "split"; only "age" is supported',
    },
    { name: 'a plugin', text: 'a12uel5l', reason: 'it is of the kind "a"; only "age" is supported' },
  ])('refuses $name: $reason', ({ text, reason }) => {
    expect(() => parseAgeRecipient(text)).toThrow(
      expect.objectContaining({ code: 'InvalidRecipient', message: expect.stringContaining(`: ${reason}`) as string }),
    )
  })

  it('refuses a key of small order: its secret would be known to everybody', () => {
    const zeros = 'age1qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqzpxcuv'
    const text = withRightSum(zeros)
    expect(() => parseAgeRecipient(text)).toThrow('keeps nothing secret')
  })

  it('shows what others sent cut and escaped', () => {
    const text = `\u001b[2J${'x'.repeat(10_000)}`
    expect(() => parseAgeRecipient(text)).toThrow(/^Cannot encrypt to "\\x1b\[2J.{0,200}$/s)
  })

  it('takes no text in which one character differs', () => {
    fc.assert(
      fc.property(fc.nat(RECIPIENT.length - 1), fc.constantFrom(...LETTERS.split('')), (at, letter) => {
        fc.pre(RECIPIENT[at] !== letter)
        expect(() => parseAgeRecipient(RECIPIENT.slice(0, at) + letter + RECIPIENT.slice(at + 1))).toThrow(
          InvalidInputError,
        )
      }),
    )
  })

  it('never fails otherwise than with an InvalidInputError', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.string({ unit: 'binary' }),
          fc.string().map((end) => `age1${end}`),
        ),
        (text) => {
          expect(() => parseAgeRecipient(text)).toThrow(InvalidInputError)
        },
      ),
    )
  })
})

/** Tries the last six letters until the sum is right: there is one text of this data. */
function withRightSum(text: string): string {
  const data = text.slice(0, -6)
  const values = [...Buffer.from('age')]
  const expanded = [...values.map((code) => code >> 5), 0, ...values.map((code) => code & 31)]
  const all = [...expanded, ...Array.from(data.slice(4), (letter) => LETTERS.indexOf(letter)), 0, 0, 0, 0, 0, 0]
  let sum = 1
  for (const value of all) {
    const top = sum >>> 25
    sum = ((sum & 0x1ffffff) << 5) ^ value
    for (const [bit, term] of [0x3b6a57b2, 0x26508e6d, 0x1ea119fa, 0x3d4233dd, 0x2a1462b3].entries()) {
      if (((top >>> bit) & 1) === 1) sum ^= term
    }
  }
  const rest = sum ^ 1
  return data + [25, 20, 15, 10, 5, 0].map((shift) => LETTERS[(rest >>> shift) & 31]).join('')
}
