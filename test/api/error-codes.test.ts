import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, expectTypeOf, it } from 'vitest'
import { ERROR_CODES, findErrorCode, type ErrorCode } from '../../src/api/error-codes.ts'
import type { FailureCode } from '../../src/runtime/failure-causes.ts'

const ROOT = join(import.meta.dirname, '../../src')

/** Codes that keep the agent from starting, or end one of its commands: no request is answered with them. */
const NOT_OF_REQUESTS = [
  'AddressUnavailable',
  'DirectoryLocked',
  'FileUnreadable',
  'InvalidAddress',
  'InvalidArguments',
  'InvalidCertificate',
  'InvalidSocketPath',
  'InvalidTokensFile',
  'NodeTooOld',
  'SigningKeyUnusable',
  'SocketInUse',
  'SocketPathTaken',
  'SocketUnavailable',
]

const sources = globSync('**/*.ts', { cwd: ROOT })
  .filter((path) => !path.startsWith('api/'))
  .map((path) => readFileSync(join(ROOT, path), 'utf8'))

describe('ERROR_CODES', () => {
  it('has every code that an error of a request carries, and no other', () => {
    const thrown = new Set(sources.flatMap(thrownCodes))
    expect(thrown.size).toBeGreaterThan(60)
    const missing = [...thrown].filter((code) => findErrorCode(code) === undefined)
    expect(missing.toSorted()).toEqual(NOT_OF_REQUESTS)
    const unused = Object.keys(ERROR_CODES).filter((code) => !sources.some((text) => text.includes(`'${code}'`)))
    expect(unused).toEqual([])
  })

  it('has every code of a failed capture', () => {
    expectTypeOf<FailureCode>().toExtend<ErrorCode>()
    const text = readFileSync(join(ROOT, 'agent/capture/capture-failure.ts'), 'utf8')
    const codes = [...text.matchAll(/code: '(\w+)'/g)].map(([, code = '']) => code)
    expect(codes.length).toBeGreaterThan(5)
    expect(codes.filter((code) => findErrorCode(code) === undefined)).toEqual([])
  })

  it('is in the order of the alphabet', () => {
    const codes = Object.keys(ERROR_CODES)
    expect(codes).toEqual(codes.toSorted((a, b) => a.localeCompare(b, 'en')))
  })

  it('knows nothing of names that every object has', () => {
    expect(findErrorCode('constructor')).toBeUndefined()
  })
})

/** The codes that are written where the errors of `shared/errors.ts` are made. */
function thrownCodes(text: string): string[] {
  const beginnings = text.matchAll(
    /new (?:InvalidInput|NotFound|Conflict|Unprocessable|NotAuthenticated|NotAllowed|Unavailable|OutOfSpace|RuntimeFailure|CaptureFailed)Error\(/g,
  )
  return [...beginnings].flatMap(({ index }) => {
    const [, code] = /code: '(\w+)'/.exec(text.slice(index, endOfCall(text, index))) ?? []
    return code === undefined ? [] : [code]
  })
}

function endOfCall(text: string, start: number): number {
  let depth = 0
  for (let at = text.indexOf('(', start); at < text.length; at += 1) {
    if (text[at] === '(') depth += 1
    if (text[at] === ')') depth -= 1
    if (depth === 0) return at
  }
  return text.length
}
