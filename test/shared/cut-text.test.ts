import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { cutFromMiddle } from '../../src/shared/cut-text.ts'

const MARK = /\n… (\d+) bytes in all, cut here …\n/

describe('cutFromMiddle', () => {
  it.each([
    { name: 'nothing', text: '' },
    { name: 'less than the limit', text: 'short' },
    { name: 'just the limit', text: 'x'.repeat(100) },
    { name: 'just the limit in bytes, not letters', text: 'ü'.repeat(50) },
  ])('leaves $name as it is', ({ text }) => {
    expect(cutFromMiddle(text, 100)).toBe(text)
  })

  it('keeps the beginning and the end, and says how long it was', () => {
    const text = `begin ${'x'.repeat(1000)} end`
    const cut = cutFromMiddle(text, 100)
    expect(cut).toMatch(/^begin x+\n… 1010 bytes in all, cut here …\nx+ end$/)
    expect(Buffer.byteLength(cut)).toBe(100)
  })

  // The cut moves through the character byte by byte.
  it.each([0, 1, 2, 3, 4, 5])('does not cut a character in two, %i bytes further', (shift) => {
    const text = `${'a'.repeat(shift)}${'🙂'.repeat(100)}${'b'.repeat(5 - shift)}`
    const cut = cutFromMiddle(text, 120)
    expect(cut).not.toContain('\ufffd')
    expect(cut.isWellFormed()).toBe(true)
  })

  it('is never longer than asked for, well formed, and of the two ends of the text', () => {
    const texts = fc.string({ unit: 'binary', minLength: 100, maxLength: 600 })
    fc.assert(
      fc.property(texts, fc.integer({ min: 64, max: 400 }), (text, maxBytes) => {
        const cut = cutFromMiddle(text, maxBytes)
        const isShort = Buffer.byteLength(text) <= maxBytes
        const [head = '', , tail = ''] = isShort ? [cut, '', cut] : cut.split(MARK)
        expect(Buffer.byteLength(cut)).toBeLessThanOrEqual(maxBytes)
        expect(cut.isWellFormed()).toBe(true)
        expect(text.startsWith(head) && text.endsWith(tail)).toBe(true)
      }),
    )
  })
})
