import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { readPolicy } from '../../src/retention/policy-parser.ts'
import { writePolicy } from '../../src/retention/policy-writer.ts'
import { SHIPPED_POLICY } from '../../src/retention/policy.ts'
import { counts, durations, policies, sizes } from './random-stores.ts'

describe('writePolicy', () => {
  it('writes what is read as the same policy, whatever stands in it', () => {
    const millis = fc.integer({ min: 600_000, max: 10 ** 12 }).map((value) => `${String(value)}ms`)
    const percentages = fc.tuple(fc.integer({ min: 0, max: 99 }), fc.integer({ min: 0, max: 999_999 }))
    const others = fc.record(
      {
        schedule: fc.constantFrom('', '0 3 * * *', '*/10 * * * *'),
        timeZone: fc.constantFrom('UTC', 'Europe/Berlin'),
        disk: fc.record(
          {
            highWatermark: percentages.map(([whole, part]) => `${String(whole)}.${String(part).padStart(6, '0')}%`),
            minFree: fc.integer({ min: 0, max: 2 ** 50 }),
          },
          { requiredKeys: [] },
        ),
        incompleteAfter: millis,
        damagedAfter: millis,
        orphanGrace: millis,
      },
      { requiredKeys: [] },
    )
    fc.assert(
      fc.property(policies, others, (policy, value) => {
        const { policy: rest, mistakes } = readPolicy({ ...value, allowDeleteEverything: true })
        expect(mistakes).toEqual([])
        expectSame({ ...rest, rules: policy.rules })
      }),
      { numRuns: 300 },
    )
  })

  it('writes every scope, and limits that leave nothing, so that they are taken again', () => {
    const scopes = fc.record(
      {
        perContainer: counts,
        perPod: counts,
        perWorkload: counts,
        perWorkloadContainer: fc.constantFrom(0, 1),
        perNamespace: counts,
      },
      { requiredKeys: ['perWorkloadContainer'] },
    )
    const rule = fc.record({
      maxCount: scopes,
      maxTotalSize: fc.constantFrom('0', '1MiB'),
      maxAge: durations,
      maxSize: sizes,
    })
    const disk = fc.constantFrom({ highWatermark: '5%' }, { lowWatermark: '0%' }, {})
    fc.assert(
      fc.property(rule, disk, (only, diskValue) => {
        const { policy, mistakes } = readPolicy({ allowDeleteEverything: true, rules: [only], disk: diskValue })
        expect(mistakes).toEqual([])
        expectSame(policy)
      }),
    )
  })

  it('writes the shipped policy without a rule, and asks for no permission to delete everything', () => {
    expect(writePolicy(SHIPPED_POLICY)).toEqual({
      schedule: '*/10 * * * *',
      timeZone: 'UTC',
      disk: { highWatermark: '85%', lowWatermark: '75%', minFree: '0' },
      incompleteAfter: '1d',
      damagedAfter: '7d',
      orphanGrace: '1h',
    })
    expectSame(SHIPPED_POLICY)
  })
})

/** Also as it comes back from a caller, who has it as JSON. */
function expectSame(policy: Parameters<typeof writePolicy>[0]): void {
  const read = readPolicy(JSON.parse(JSON.stringify(writePolicy(policy))))
  expect(read).toEqual({ policy, mistakes: [] })
}
