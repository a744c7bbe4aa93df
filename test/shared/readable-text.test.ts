import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { escapeUnreadable, readableText } from '../../src/shared/readable-text.ts'

const numRuns = process.env['SLOW'] === '1' ? 20_000 : 1000

/** What a terminal, a log viewer or a header could take as more than a letter. */
const CONTROL = /[\p{Cc}\p{Cf}\p{Cs}\u2028\u2029]/u

describe('readableText', () => {
  it.each([
    ['plain text', 'web-node-a', 'web-node-a'],
    ['letters of all scripts', 'prüfung-检查-🙂', 'prüfung-检查-🙂'],
    ['a line break', 'a\nb', String.raw`a\x0ab`],
    ['an escape sequence', '\u001b[31m', String.raw`\x1b[31m`],
    ['a backslash', 'a\\x0a', String.raw`a\\x0a`],
    ['a control character beyond ASCII', '\u0085', String.raw`\u{85}`],
    ['text that reads backwards', 'a\u202eb', String.raw`a\u{202e}b`],
    ['a byte order mark', '\ufeffa', String.raw`\u{feff}a`],
    ['a soft hyphen', 'a\u00adb', String.raw`a\u{ad}b`],
    ['invisible tag letters', 'a\u{e0041}', String.raw`a\u{e0041}`],
    ['nothing', '', ''],
  ])('shows %s', (_, text, shown) => {
    expect(readableText(Buffer.from(text))).toBe(shown)
    expect(escapeUnreadable(text)).toBe(shown)
  })

  it.each([
    ['a byte that is never in UTF-8', [0x61, 0xff, 0x62], String.raw`a\xffb`],
    ['a sequence cut short', [0x61, 0xe2, 0x82], String.raw`a\xe2\x82`],
    ['a longer form than needed', [0xc0, 0x80], String.raw`\xc0\x80`],
    ['half of a surrogate pair', [0xed, 0xa0, 0x80], String.raw`\xed\xa0\x80`],
    ['beyond the last code point', [0xf4, 0x90, 0x80, 0x80], String.raw`\xf4\x90\x80\x80`],
    ['good and bad side by side', [0xc3, 0xbc, 0xfe, 0x0a], String.raw`ü\xfe\x0a`],
    ['a byte order mark before a bad byte', [0xef, 0xbb, 0xbf, 0xff], String.raw`\u{feff}\xff`],
  ])('shows %s', (_, bytes, shown) => {
    expect(readableText(Uint8Array.from(bytes))).toBe(shown)
  })

  const someBytes = fc.oneof(
    fc.uint8Array({ maxLength: 24 }),
    fc.string({ unit: 'binary', maxLength: 12 }).map((text) => Buffer.from(text)),
    // Texts that look like our own escapes, where two inputs could meet.
    fc
      .array(fc.constantFrom('\\', 'x', '0', 'a', 'f', 'u', '{', '}', '8', '5', '\n', '\u0085'), { maxLength: 12 })
      .map((parts) => Buffer.from(parts.join(''))),
    fc
      .array(fc.constantFrom(0x5c, 0x78, 0x66, 0xff, 0x61, 0xc2, 0x85), { maxLength: 12 })
      .map((bytes) => Buffer.from(bytes)),
  )

  it('gives different texts for different bytes, so that one can be told from the other', () => {
    fc.assert(
      fc.property(someBytes, someBytes, (left, right) => {
        expect(readableText(left) === readableText(right)).toBe(Buffer.compare(left, right) === 0)
      }),
      { numRuns },
    )
  })

  it('loses nothing: the bytes can be told from the text', () => {
    fc.assert(
      fc.property(someBytes, (bytes) => {
        expect([...unescape(readableText(bytes))]).toEqual([...bytes])
      }),
      { numRuns },
    )
  })

  it('has nothing in it that moves a cursor, ends a line or cannot be seen', () => {
    fc.assert(
      fc.property(someBytes, (bytes) => {
        expect(readableText(bytes)).not.toMatch(CONTROL)
      }),
      { numRuns },
    )
  })
})

describe('escapeUnreadable', () => {
  it('never fails, and leaves nothing unreadable, lone surrogates included', () => {
    const codeUnits = fc.array(fc.nat(0xffff), { maxLength: 16 }).map((units) => String.fromCharCode(...units))
    fc.assert(
      fc.property(codeUnits, (text) => {
        expect(escapeUnreadable(text)).not.toMatch(CONTROL)
      }),
      { numRuns },
    )
  })

  it('shows a lone surrogate', () => {
    expect(escapeUnreadable('a\ud800b')).toBe(String.raw`a\u{d800}b`)
  })
})

/** The way back, written apart from the code under test. */
function unescape(text: string): Buffer {
  const parts = text.split(/(\\\\|\\x[0-9a-f]{2}|\\u\{[0-9a-f]+\})/)
  return Buffer.concat(
    parts.map((part) => {
      if (part === '\\\\') return Buffer.from('\\')
      if (part.startsWith('\\x')) return Buffer.from([Number.parseInt(part.slice(2), 16)])
      if (part.startsWith('\\u')) return Buffer.from(String.fromCodePoint(Number.parseInt(part.slice(3, -1), 16)))
      return Buffer.from(part)
    }),
  )
}
