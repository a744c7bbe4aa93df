import { describe, expect, it } from 'vitest'
import { formatInstant, instantToMillis, parseInstant } from '../../src/archive/instant.ts'

describe('parseInstant', () => {
  it.each([
    ['2026-11-20T16:01:06.809469787Z', 1795190466809469787n],
    ['2026-11-20T16:01:09.88171404Z', 1795190469881714040n],
    ['2026-11-20T16:01:09Z', 1795190469000000000n],
    ['2026-11-21T00:01:09.5+08:00', 1795190469500000000n],
    ['2026-11-20T12:31:09-03:30', 1795190469000000000n],
    ['2028-02-29T00:00:00Z', 1835395200000000000n],
    ['0001-01-01T00:00:00Z', 'unset'],
    ['1970-01-01T00:00:00Z', 'unset'],
  ])('reads %s', (text, expected) => {
    expect(parseInstant(text)).toBe(expected)
  })

  it.each([
    '',
    'now',
    '2026-11-20',
    '2026-11-20 16:01:06Z',
    '2026-11-20T16:01:06',
    '2026-11-20T16:01Z',
    '2026-11-20T16:01:06.Z',
    '2026-11-20T16:01:06.1234567890Z',
    '2026-02-29T00:00:00Z',
    '2026-13-01T00:00:00Z',
    '2026-11-20T24:00:00Z',
    '2026-11-20T16:01:60Z',
    '2026-11-20T16:01:06+24:00',
    '2026-11-20T16:01:06+01:60',
    '1969-12-31T23:59:59Z',
    '2263-01-01T00:00:00Z',
    '9999-12-31T23:59:59Z',
    '\u0662026-11-20T16:01:06Z',
  ])('refuses "%s"', (text) => {
    expect(parseInstant(text)).toBeUndefined()
  })
})

describe('formatInstant', () => {
  it.each([
    '2026-11-20T16:01:06.809469787Z',
    '2026-11-20T16:01:09.88171404Z',
    '2026-11-20T16:01:09Z',
    '2026-11-20T16:01:09.000000001Z',
  ])('gives %s back', (text) => {
    const instant = parseInstant(text)
    expect(formatInstant(typeof instant === 'bigint' ? instant : 0n)).toBe(text)
  })
})

describe('instantToMillis', () => {
  it('drops what a Date cannot hold', () => {
    expect(instantToMillis(1795190466809469787n)).toBe(1795190466809)
  })
})
