import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { readKubeletTimeout } from '../../src/http/kubelet-timeout.ts'

describe('readKubeletTimeout', () => {
  it.each([
    { query: '', timeoutMs: 120_000 },
    { query: 'timeout=0', timeoutMs: 120_000 },
    { query: 'timeout=120', timeoutMs: 120_000 },
    { query: 'timeout=121', timeoutMs: 121_000 },
    { query: 'timeout=x&timeout=300', timeoutMs: 300_000 },
    { query: 'timeout=-1', timeoutMs: undefined },
    { query: 'timeout=-9223372036854775808', timeoutMs: undefined },
    // The clock of the kubelet counts nanoseconds in 64 bits.
    { query: 'timeout=9223372036', timeoutMs: 2 ** 31 - 1 },
    { query: 'timeout=9223372037', timeoutMs: 0 },
    { query: 'timeout=9223372036854775807', timeoutMs: 0 },
    { query: 'timeout=36028797018963968', timeoutMs: 0 },
    // Overflows twice, to 10.58 s: less than the minimum, and yet the kubelet takes it.
    { query: 'timeout=36893488158', timeoutMs: 10_581 },
  ])('waits $timeoutMs ms for "$query"', ({ query, timeoutMs }) => {
    expect(readKubeletTimeout(query, 120)).toEqual({ timeoutMs })
  })

  it.each([
    { minimum: 1, query: 'timeout=1', timeoutMs: 1000 },
    { minimum: 1, query: 'timeout=2', timeoutMs: 2000 },
    { minimum: 0.25, query: '', timeoutMs: 250 },
    { minimum: 0, query: 'timeout=0', timeoutMs: 0 },
  ])('raises "$query" to a minimum of $minimum s', ({ minimum, query, timeoutMs }) => {
    expect(readKubeletTimeout(query, minimum)).toEqual({ timeoutMs })
  })

  it('never throws, and never waits for longer than a timer can', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.bigInt().map(String), fc.nat().map(String)), (text) => {
        const timeout = readKubeletTimeout(`timeout=${text}`, 120)
        expect(timeout?.timeoutMs ?? 0).toBeLessThan(2 ** 31)
        expect(timeout?.timeoutMs ?? 0).toBeGreaterThanOrEqual(0)
      }),
    )
  })
})
