import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { jsonFields, jsonMapKeys, JsonReader } from '../../src/archive/json-reader.ts'
import { ProblemError } from '../../src/checkpoint/problem.ts'

const RUNS = process.env['SLOW'] === '1' ? 100_000 : 2000

describe('JsonReader', () => {
  it('gives integers with all their digits', () => {
    const text = '{"a":1795190466810165955,"b":-9223372036854775808,"c":0,"d":null}'
    expect(readIntegers(text)).toEqual({ a: 1795190466810165955n, b: -9223372036854775808n, c: 0n, d: undefined })
  })

  it('gives texts with their escapes resolved', () => {
    expect(readTexts(String.raw`{"a":"\u0041\n\"\\\/","b":"\ud83d\ude00é","c":"","d":null}`)).toEqual({
      a: 'A\n"\\/',
      b: '😀é',
      c: undefined,
      d: undefined,
    })
  })

  it('reads keys that are written with escapes', () => {
    expect(readTexts(String.raw`{"\u0061":"x"}`)).toEqual({ a: 'x' })
  })

  it('takes JSON for JSON exactly where JSON.parse does', () => {
    fc.assert(
      fc.property(
        fc.oneof(fc.json(), fc.json().chain(mutated), fc.stringMatching(/^[[\]{}",:0-9eE.+\-tfn\\u ]{0,20}$/)),
        (value) => {
          const text = `{"a":${value}}`
          expect(isAccepted(text)).toBe(isJsonObject(text))
        },
      ),
      { numRuns: RUNS },
    )
  })

  it('throws nothing but a ProblemError', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        expect(() => read(Buffer.concat([Buffer.from('{"a":'), bytes]))).not.toThrow(OtherError)
      }),
      { numRuns: RUNS },
    )
  })

  it('keeps the text of a field apart from that of a look-alike within another value', () => {
    const reader = new JsonReader(Buffer.from('{"x":{"a":"no"},"a":"yes","y":"\\"a\\":\\"no\\""}'), 'test')
    const found: unknown[] = []
    reader.readDocument(jsonFields('a'), () => found.push(reader.readText()))
    expect(found).toEqual(['yes'])
  })

  it('tells map keys by their case', () => {
    const reader = new JsonReader(Buffer.from('{"m":{"A":"1","a":"2"}}'), 'test')
    const found: unknown[] = []
    reader.readDocument(jsonFields('m'), () => reader.readObject(jsonMapKeys('a'), () => found.push(reader.readText())))
    expect(found).toEqual(['2'])
  })
})

const KEYS = jsonFields('a', 'b', 'c', 'd')

function readTexts(text: string): Record<string, unknown> {
  const reader = new JsonReader(Buffer.from(text), 'test')
  const found: Record<string, unknown> = {}
  reader.readDocument(KEYS, (key) => {
    found[key] = reader.readText()
  })
  return found
}

function readIntegers(text: string): Record<string, unknown> {
  const reader = new JsonReader(Buffer.from(text), 'test')
  const found: Record<string, unknown> = {}
  reader.readDocument(KEYS, (key) => {
    found[key] = reader.readInteger()
  })
  return found
}

class OtherError extends Error {}

/** Reads the document; what should not be thrown becomes an OtherError. */
function read(bytes: Buffer): void {
  try {
    const reader = new JsonReader(bytes, 'test')
    reader.readDocument(jsonFields('wanted'), () => reader.skipValue())
  } catch (error) {
    if (!(error instanceof ProblemError)) throw new OtherError('not a problem', { cause: error })
  }
}

function isAccepted(text: string): boolean {
  const reader = new JsonReader(Buffer.from(text), 'test')
  try {
    reader.readDocument(jsonFields('wanted'), () => reader.skipValue())
    return true
  } catch (error) {
    if (error instanceof ProblemError) return false
    throw error
  }
}

function isJsonObject(text: string): boolean {
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}

function mutated(text: string): fc.Arbitrary<string> {
  return fc
    .tuple(
      fc.nat(Math.max(0, text.length - 1)),
      fc.constantFrom('', '"', '\\', '{', '}', '[', ']', ',', ':', '0', '.', 'e', 'u', '\n'),
    )
    .map(([at, other]) => text.slice(0, at) + other + text.slice(at + 1))
}
