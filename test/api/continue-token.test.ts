import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { continueToken, writeToken } from '../../src/api/continue-token.ts'

const SCHEMA = continueToken(z.strictObject({ before: z.string() }))

describe('writeToken and continueToken', () => {
  it.each(['01KAAAAAAAAAAAAAAAAAAAAAAA', 'größer ≥ 日本', '???>>>', ''])('carry the position %j', (before) => {
    const token = writeToken({ before })
    expect(token).toMatch(/^[\w-]+$/)
    expect(SCHEMA.parse(token)).toEqual({ before })
  })

  it('write base64url without padding, as earlier agents did', () => {
    const position = { before: 'aä?>' }
    expect(writeToken(position)).toBe(Buffer.from(JSON.stringify(position)).toString('base64url'))
  })

  it.each([
    ['text that is no base64url', '$$$'],
    ['base64url that is no JSON', 'YWJj'],
    ['JSON of another shape', writeToken({ after: 'x' })],
    ['JSON with a field too many', writeToken({ before: 'x', after: 'y' })],
    ['nothing', ''],
  ])('refuse %s', (_, token) => {
    expect(SCHEMA.safeParse(token).error?.issues).toMatchObject([{ message: 'is no token of a page of this list' }])
  })
})
