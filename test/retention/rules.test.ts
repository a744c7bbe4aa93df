import { describe, expect, it } from 'vitest'
import { RuleBook, testFor } from '../../src/retention/rules.ts'
import { archive, policyOf, type ArchiveWish } from './planned-archives.ts'

function ruleOf(matches: readonly object[], wish: Partial<ArchiveWish> = {}): string | undefined {
  const { rules } = policyOf({ rules: matches.map((match) => ({ match, maxCount: 1 })) })
  return new RuleBook(rules).ruleOf(archive({ name: 'a', ...wish }))?.name
}

describe('a pattern', () => {
  it.each([
    ['team', 'team', true],
    ['team', 'team-a', false],
    ['team-*', 'team-a', true],
    ['team-*', 'team', false],
    ['*', '', true],
    ['*-db', 'shop-db', true],
    ['a*b*c', 'a-b-b-c', true],
    ['a*b*c', 'a-c-b', false],
    ['ab*ba', 'aba', false],
    ['a.c', 'abc', false],
    ['*a*', 'bab', true],
    ['**', 'x', true],
  ])('%s and %s: %s', (pattern, text, expected) => {
    expect(testFor(pattern)(text)).toBe(expected)
  })

  it('is not about what is not known', () => {
    expect(testFor('*')(undefined)).toBe(false)
  })

  it('with many stars takes no time', () => {
    const began = performance.now()
    testFor(`${'*a'.repeat(2_000)}b`)('a'.repeat(20_000))
    expect(performance.now() - began).toBeLessThan(5_000)
  })
})

describe('the rule of an archive', () => {
  it.each([
    { what: 'the container before the pod', matches: [{ pod: 'web-*' }, { container: 'counter' }], winner: 2 },
    { what: 'the pod before the workload', matches: [{ workload: 'web' }, { pod: 'web-5d9c7b6f4-x2x9k' }], winner: 2 },
    { what: 'the pod before the namespace', matches: [{ namespace: 'shop' }, { pod: 'web-*' }], winner: 2 },
    { what: 'the namespace before the engine', matches: [{ engine: 'containerd' }, { namespace: 'shop' }], winner: 2 },
    {
      what: 'two names before one',
      matches: [{ container: 'counter' }, { container: 'c*', namespace: 'shop' }],
      winner: 2,
    },
    { what: 'the first of equal ones', matches: [{ namespace: 's*' }, { namespace: 'shop' }], winner: 1 },
    { what: 'a written one before the shipped', matches: [{}], winner: 1 },
    { what: 'only one that is about it', matches: [{ container: 'other' }, { namespace: 'shop' }], winner: 2 },
  ])('is $what', ({ matches, winner }) => {
    expect(ruleOf(matches)).toMatch(new RegExp(`^rule ${String(winner)}(:|$)`))
  })

  it('is the shipped one where no other is about it', () => {
    expect(ruleOf([{ namespace: 'team' }], { namespace: 'team-a' })).toBe('default')
  })

  it('is none for an identity that is not to be believed, not even the one of the namespace it claims', () => {
    const claim = { source: 'name', isTrusted: false } as const
    expect(ruleOf([{ namespace: 'shop' }, {}], claim)).toBeUndefined()
    expect(ruleOf([{ namespace: 'shop', identitySource: 'name' }], claim)).toBeUndefined()
    expect(ruleOf([{ identitySource: 'name' }], claim)).toBe('rule 1: identitySource name')
  })
})
