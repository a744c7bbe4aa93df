import { describe, expect, it } from 'vitest'
import { readPolicy } from '../../src/retention/policy-parser.ts'
import { DAY, policyOf } from './planned-archives.ts'

describe('a policy with a slip that would cost archives', () => {
  it.each([
    {
      what: 'nothing is kept within no time',
      policy: { rules: [{ maxCount: 0, keepWithin: '0s' }] },
      key: 'rules[0].keepWithin',
    },
    { what: 'a file that is being written is unfinished', policy: { incompleteAfter: '0s' }, key: 'incompleteAfter' },
    { what: 'the same for a damaged one', policy: { damagedAfter: '9m' }, key: 'damagedAfter' },
    { what: 'no archive is that small', policy: { rules: [{ maxSize: 1023 }] }, key: 'rules[0].maxSize' },
    {
      what: 'nor are all of them',
      policy: { rules: [{ maxTotalSize: { perPod: '1k' } }] },
      key: 'rules[0].maxTotalSize',
    },
    { what: 'every archive is older', policy: { rules: [{ maxAge: '1ms' }] }, key: 'rules[0].maxAge' },
    {
      what: 'the second of two rules about the same would be passed over',
      policy: {
        rules: [
          { match: { pod: 'a', namespace: 'b' }, maxAge: '1d' },
          { match: { namespace: 'b', pod: 'a' }, keepLast: 3 },
        ],
      },
      key: 'rules[1]',
    },
    {
      what: 'no engine is like that',
      policy: { rules: [{ match: { engine: 'docker*' }, keepLast: 1 }] },
      key: 'rules[0].match.engine',
    },
  ])('is refused: $what', ({ policy, key }) => {
    expect(readPolicy(policy).mistakes.map((mistake) => mistake.key)).toContain(`retention.${key}`)
  })

  it('is taken where everything may go', () => {
    const policy = { allowDeleteEverything: true, rules: [{ maxSize: 1, maxAge: '1ms', maxTotalSize: 1 }] }
    expect(readPolicy(policy).mistakes).toEqual([])
  })
})

describe('a limit of one archive', () => {
  it('may be written for each scope like the others; the strictest counts', () => {
    const { rules } = policyOf({
      rules: [{ maxAge: { perPod: '3d', perNamespace: '2d' }, maxSize: { perContainer: '4Ki' } }],
    })
    expect(rules[0]?.limits).toMatchObject({ maxAgeMs: 2 * DAY, maxBytes: 4096 })
  })

  it('is wrong for a scope that there is not', () => {
    expect(readPolicy({ rules: [{ maxAge: { perNode: '3d' } }] }).mistakes.map(({ key }) => key)).toContain(
      'retention.rules[0].maxAge.perNode',
    )
  })
})

describe('a pattern of engines', () => {
  it('may stand for some of them', () => {
    expect(policyOf({ rules: [{ match: { engine: 'c*' }, keepLast: 1 }] }).rules[0]?.match).toEqual({ engine: 'c*' })
  })
})

describe('a value without its unit', () => {
  it.each([
    { policy: { rules: [{ maxAge: 14 }] }, meant: '14d' },
    { policy: { rules: [{ maxAge: { perPod: '14' } }] }, meant: '14d' },
    { policy: { rules: [{ orphans: 7 }] }, meant: '7d' },
    { policy: { rules: [{ keepWithin: 2 }] }, meant: '2d' },
    { policy: { incompleteAfter: 1 }, meant: '1d' },
    { policy: { damagedAfter: 7 }, meant: '7d' },
    { policy: { orphanGrace: 1 }, meant: '1h' },
    { policy: { disk: { highWatermark: 0.85 } }, meant: '85%' },
    { policy: { disk: { highWatermark: 85, lowWatermark: '75%' } }, meant: '85%' },
    { policy: { disk: { lowWatermark: 0.75 } }, meant: '75%' },
  ])('gets a hint that is safe to follow: $policy → $meant', ({ policy, meant }) => {
    const reasons = readPolicy(policy).mistakes.map(({ reason }) => reason)
    expect(reasons[0]).toMatch(/^it needs a (?:unit|percent sign), such as "[^"]*"$/)
    expect(reasons[0]).toContain(`"${meant}"`)
  })
})
