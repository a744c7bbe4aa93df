import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  formatDuration,
  formatPercentage,
  formatSize,
  parseDuration,
  parsePercentage,
  parseSize,
  QuantityError,
} from '../../src/shared/quantity.ts'

const numRuns = process.env['SLOW'] === '1' ? 10_000 : 300

describe('parseDuration', () => {
  it.each([
    ['90s', 90_000],
    ['10m', 600_000],
    ['1h30m', 5_400_000],
    ['14d', 1_209_600_000],
    ['500ms', 500],
    ['1h0m0s', 3_600_000],
    ['1d2h3m4s5ms', 93_784_005],
    ['0s', 0],
  ])('reads %s', (text, millis) => {
    expect(parseDuration(text)).toBe(millis)
  })

  it.each([
    ['90', 'it needs a unit, such as "90s" or "90m"'],
    ['1.5h', 'it must be made of whole numbers: "1h30m", not "1.5h"'],
    ['3 weeks', 'it must be whole numbers with the units d, h, m, s or ms, such as "90s" or "1h30m"'],
    ['', 'it must be whole numbers with the units d, h, m, s or ms, such as "90s" or "1h30m"'],
    ['-5s', 'it must be whole numbers with the units d, h, m, s or ms, such as "90s" or "1h30m"'],
    ['30m1h', 'its units must go from large to small, each at most once, such as "1h30m"'],
    ['1s1s', 'its units must go from large to small, each at most once, such as "1h30m"'],
    ['99999999999d', 'it is too long'],
  ])('refuses "%s": %s', (text, reason) => {
    expect(() => parseDuration(text)).toThrow(new QuantityError('duration', text, reason))
  })

  it('suggests the unit that is usual in that place, where there is one', () => {
    expect(() => parseDuration('14', 'd')).toThrow(
      new QuantityError('duration', '14', 'it needs a unit, such as "14d"'),
    )
  })

  it('reads back what formatDuration writes', () => {
    fc.assert(
      fc.property(fc.maxSafeNat(), (millis) => {
        expect(parseDuration(formatDuration(millis))).toBe(millis)
      }),
      { numRuns },
    )
  })
})

describe('parseSize', () => {
  it.each([
    ['4096', 4096],
    ['4096B', 4096],
    ['2GiB', 2_147_483_648],
    ['2Gi', 2_147_483_648],
    ['500M', 500_000_000],
    ['500MB', 500_000_000],
    ['1k', 1000],
    ['1K', 1000],
    ['1KiB', 1024],
    ['1.5GiB', 1_610_612_736],
    ['0.1M', 100_000],
    ['0', 0],
  ])('reads %s', (text, bytes) => {
    expect(parseSize(text)).toBe(bytes)
  })

  it.each([
    ['2 GiB', 'it must be bytes, with or without a unit, such as "2GiB", "500M" or "4096"'],
    ['', 'it must be bytes, with or without a unit, such as "2GiB", "500M" or "4096"'],
    ['-1', 'it must be bytes, with or without a unit, such as "2GiB", "500M" or "4096"'],
    ['5m', 'it must be bytes, with or without a unit, such as "2GiB", "500M" or "4096"'],
    ['0.0005k', 'it is not a whole number of bytes'],
    ['9999P', 'it is too large'],
  ])('refuses "%s": %s', (text, reason) => {
    expect(() => parseSize(text)).toThrow(new QuantityError('size', text, reason))
  })

  it('reads back what formatSize writes', () => {
    const sizes = fc.oneof(
      fc.maxSafeNat(),
      fc.tuple(fc.nat(4000), fc.nat(4)).map(([count, power]) => count * 1024 ** power),
    )
    fc.assert(
      fc.property(sizes, (bytes) => {
        expect(parseSize(formatSize(bytes))).toBe(bytes)
      }),
      { numRuns },
    )
  })

  it('writes round sizes with a unit', () => {
    expect([0, 1000, 1024, 2 * 1024 ** 3].map(formatSize)).toEqual(['0', '1000', '1KiB', '2GiB'])
  })
})

describe('parsePercentage', () => {
  it.each([
    ['5%', 0.05],
    ['12.5%', 0.125],
    ['0%', 0],
    ['100%', 1],
  ])('reads %s', (text, fraction) => {
    expect(parsePercentage(text)).toBe(fraction)
  })

  it.each([
    ['5', 'it needs a percent sign, such as "5%"'],
    ['0', 'it needs a percent sign, such as "0%"'],
    ['85', 'it needs a percent sign, such as "85%"'],
    ['0.85', 'it needs a percent sign, such as "85%"'],
    ['1', 'it needs a percent sign: "1%" or "100%"'],
    ['1.0', 'it needs a percent sign: "1%" or "100%"'],
    ['%', 'it must be a number with a percent sign, such as "5%"'],
    ['-5%', 'it must be a number with a percent sign, such as "5%"'],
    ['101%', 'it must not be more than 100%'],
  ])('refuses "%s": %s', (text, reason) => {
    expect(() => parsePercentage(text)).toThrow(new QuantityError('percentage', text, reason))
  })

  it('reads back what formatPercentage writes', () => {
    fc.assert(
      fc.property(fc.nat(10_000), (hundredths) => {
        const fraction = parsePercentage(`${hundredths / 100}%`)
        expect(parsePercentage(formatPercentage(fraction))).toBe(fraction)
      }),
      { numRuns },
    )
  })
})

it('never throws anything but QuantityError', () => {
  const texts = fc.oneof(fc.string(), fc.stringMatching(/^[0-9.]{0,30}(?:ms|[smhdkMGi%B]){0,4}$/))
  fc.assert(
    fc.property(texts, fc.constantFrom(parseDuration, parseSize, parsePercentage), (text, parse) => {
      try {
        expect(parse(text)).toBeGreaterThanOrEqual(0)
      } catch (error) {
        if (!(error instanceof QuantityError)) throw error
      }
    }),
    { numRuns },
  )
})
