import { describe, expect, it } from 'vitest'
import { readPolicy } from '../../src/retention/policy-parser.ts'
import { SHIPPED_POLICY } from '../../src/retention/policy.ts'
import { DAY, policyOf } from './planned-archives.ts'

describe('a policy', () => {
  it('is the shipped one where nothing is written', () => {
    expect(readPolicy(undefined)).toEqual({ policy: SHIPPED_POLICY, mistakes: [] })
  })

  it('is read whole', () => {
    const policy = policyOf({
      schedule: '*/5 * * * *',
      timeZone: 'Europe/Berlin',
      rules: [
        {
          match: { namespace: 'payments-*', engine: 'cri-o' },
          keepLast: 2,
          keepHourly: 3,
          keepDaily: 4,
          keepWeekly: 5,
          keepWithin: '36h',
          maxCount: { perContainer: 5, perPod: 6, perWorkload: 7, perWorkloadContainer: 8, perNamespace: 50 },
          maxTotalSize: { perNamespace: '10Gi' },
          maxAge: '14d',
          maxSize: '500M',
          orphans: '2d',
        },
        { maxCount: 3, maxTotalSize: '1GiB' },
      ],
      disk: { highWatermark: '80%', lowWatermark: '70%', minFree: '10Gi' },
      incompleteAfter: '12h',
      damagedAfter: '3d',
      orphanGrace: '2h',
    })
    expect(policy).toEqual({
      schedule: '*/5 * * * *',
      timeZone: 'Europe/Berlin',
      rules: [
        {
          name: 'rule 1: namespace payments-*, engine cri-o',
          isShipped: false,
          match: { namespace: 'payments-*', engine: 'cri-o' },
          limits: {
            maxCount: { container: 5, pod: 6, workload: 7, workloadContainer: 8, namespace: 50 },
            maxTotalBytes: { namespace: 10 * 1024 ** 3 },
            maxAgeMs: 14 * DAY,
            maxBytes: 500_000_000,
            orphansMs: 2 * DAY,
          },
          keeps: { last: 2, hourly: 3, daily: 4, weekly: 5, withinMs: 1.5 * DAY },
        },
        {
          name: 'rule 2',
          isShipped: false,
          match: {},
          limits: { maxCount: { workloadContainer: 3 }, maxTotalBytes: { workloadContainer: 1024 ** 3 } },
          keeps: {},
        },
        SHIPPED_POLICY.rules[0],
      ],
      disk: { highWatermark: 0.8, lowWatermark: 0.7, minFreeBytes: 10 * 1024 ** 3 },
      incompleteAfterMs: DAY / 2,
      damagedAfterMs: 3 * DAY,
      orphanGraceMs: 2 * 3_600_000,
    })
  })

  it('tells all mistakes at once, with key and value', () => {
    const { mistakes } = readPolicy({
      schedule: 'now and then',
      timeZone: 'Mars/Base',
      rule: [],
      rules: [
        { match: { namespce: 'a', engine: 'docker', pod: 'a b' }, maxAge: '14', keepLast: 0, maxCount: { perNode: 3 } },
        { match: { namespace: 'a' } },
        'all',
        { maxAge: null },
      ],
      disk: { highWatermark: '50%', lowWatermark: '60%', minFree: 'some' },
    })
    expect(mistakes.map(({ key, text = '' }) => `${key} = ${text}`)).toEqual([
      'retention.schedule = now and then',
      'retention.timeZone = Mars/Base',
      'retention.rules[0].match.pod = a b',
      'retention.rules[0].match.engine = docker',
      'retention.rules[0].match.namespce = ',
      'retention.rules[0].maxAge = 14',
      'retention.rules[0].keepLast = 0',
      'retention.rules[0].maxCount.perNode = ',
      'retention.rules[1] = ',
      'retention.rules[2] = all',
      'retention.rules[3].maxAge = ',
      'retention.disk.minFree = some',
      'retention.disk.lowWatermark = 60%',
      'retention.rule = ',
    ])
    const reasonOf = (key: string) => mistakes.find((mistake) => mistake.key === key)?.reason
    expect(reasonOf('retention.rules[0].match.namespce')).toContain('did you mean namespace?')
    expect(reasonOf('retention.rules[0].maxAge')).toContain('"14d"')
    expect(reasonOf('retention.rule')).toContain('did you mean rules?')
  })

  it.each([
    { what: 'empty', policy: {} },
    { what: 'nothing', policy: null },
    { what: 'without rules', policy: { rules: [] } },
    { what: 'maxCount 0', policy: { rules: [{ maxCount: 0 }] } },
    { what: 'maxCount 0 in a namespace', policy: { rules: [{ maxCount: { perNamespace: 0 } }] } },
    { what: 'maxAge 0', policy: { rules: [{ maxAge: '0s' }] } },
    { what: 'maxSize 0', policy: { rules: [{ maxSize: 0 }] } },
    { what: 'maxTotalSize 0', policy: { rules: [{ maxTotalSize: '0' }] } },
    { what: 'a disk that is to be empty', policy: { disk: { highWatermark: '10%', lowWatermark: '0%' } } },
  ])('that is $what is refused', ({ policy }) => {
    expect(readPolicy(policy).mistakes).not.toEqual([])
  })

  it('that removes everything is taken where that is said, and where something is kept', () => {
    expect(readPolicy({ allowDeleteEverything: true, rules: [{ maxCount: 0 }] }).mistakes).toEqual([])
    expect(readPolicy({ rules: [{ maxCount: 0, keepLast: 1 }] }).mistakes).toEqual([])
  })

  it('of hostile shapes is refused and breaks nothing', () => {
    const values: unknown[] = [
      [],
      'x',
      1,
      { __proto__: null, rules: { 0: 1 } },
      { rules: [[[]]] },
      { disk: [] },
      { constructor: 1 },
    ]
    for (const value of values) expect(readPolicy(value).mistakes).not.toEqual([])
  })
})
