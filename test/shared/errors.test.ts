import { statSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import * as errors from '../../src/shared/errors.ts'

const { errorText, isSystemError } = errors

describe('an AgentError', () => {
  it.each([
    errors.InvalidInputError,
    errors.NotFoundError,
    errors.ConflictError,
    errors.NotAllowedError,
    errors.UnavailableError,
    errors.OutOfSpaceError,
    errors.RuntimeFailureError,
  ])('of any kind has its own name and what was told: %o', (Kind) => {
    const cause = new Error('beneath')
    const error = new Kind('Cannot do it', {
      code: 'Some',
      hint: 'Do that.',
      runtimeMessage: 'no',
      extra: { job: 1 },
      cause,
    })
    expect(error).toBeInstanceOf(errors.AgentError)
    expect(error).toMatchObject({
      name: Kind.name,
      message: 'Cannot do it',
      code: 'Some',
      hint: 'Do that.',
      runtimeMessage: 'no',
      extra: { job: 1 },
      cause,
    })
  })

  it('has nothing that was not told', () => {
    const error = new errors.NotFoundError('Cannot find it', { code: 'Some' })
    expect(error.hint).toBeUndefined()
    expect(error.runtimeMessage).toBeUndefined()
    expect(error.extra).toEqual({})
    expect('cause' in error).toBe(false)
  })
})

describe('errorText', () => {
  it.each([
    { thrown: new Error('words'), text: 'words' },
    { thrown: 'a text', text: 'a text' },
    { thrown: undefined, text: 'undefined' },
    { thrown: 7, text: '7' },
  ])('of $thrown is $text', ({ thrown, text }) => {
    expect(errorText(thrown)).toBe(text)
  })
})

describe('isSystemError', () => {
  const missing = failureOf(() => statSync('/no/such/file'))

  it('knows a failed system call by its code', () => {
    expect(isSystemError(missing, 'EACCES', 'ENOENT')).toBe(true)
    expect(isSystemError(missing, 'EACCES')).toBe(false)
    expect(isSystemError(missing)).toBe(false)
  })

  it.each([new Error('ENOENT'), { code: 'ENOENT' }, 'ENOENT', undefined])('is not fooled by %o', (other) => {
    expect(isSystemError(other, 'ENOENT')).toBe(false)
  })
})

function failureOf(run: () => unknown): unknown {
  try {
    run()
  } catch (error) {
    return error
  }
  throw new Error('it did not fail')
}
