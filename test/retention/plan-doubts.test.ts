import { describe, expect, it } from 'vitest'
import type { PlannedArchive } from '../../src/retention/plan-types.ts'
import { planRetention } from '../../src/retention/plan.ts'
import { archive, DAY, HOUR, MIB, NOW, policyOf, removedBy, series } from './planned-archives.ts'

/** The names of what goes at that time. */
function removedAt(nowMillis: number, value: unknown, archives: readonly PlannedArchive[]): string[] {
  const { remove } = planRetention({ archives, policy: policyOf(value), nowMillis })
  return remove.map(({ archive: { fileName } }) => fileName.replace('.tar', '')).toSorted()
}

describe('a clock that went back a day', () => {
  it('leaves the order as it was: the oldest go, and not any that now lie in the future', () => {
    const policy = { rules: [{ maxCount: 3 }] }
    expect(removedAt(NOW - DAY, policy, series(6))).toEqual(['a3', 'a4', 'a5'])
  })

  it('leaves each its hour, day and week', () => {
    const archives = [0, 1, 2].map((days) => archive({ name: `d${String(days)}`, ageMs: days * DAY }))
    const policy = { rules: [{ maxCount: 0, keepDaily: 3 }] }
    expect(removedAt(NOW - 3 * DAY, policy, archives)).toEqual([])
  })

  it('leaves the last one the last', () => {
    expect(removedAt(NOW - DAY, { rules: [{ maxCount: 0, keepLast: 1 }] }, series(5))).toEqual(['a1', 'a2', 'a3', 'a4'])
  })
})

describe('what goes anyway takes no place from others:', () => {
  const [b, c] = [archive({ name: 'b', ageMs: HOUR }), archive({ name: 'c', ageMs: 2 * HOUR })]

  it('an orphan', () => {
    const orphan = archive({ name: 'orphan', orphanForMs: 8 * DAY })
    expect(removedBy({ rules: [{ maxCount: 2, orphans: '7d' }] }, [orphan, b, c])).toEqual(['orphan'])
  })

  it('one that is too large by itself', () => {
    const large = archive({ name: 'large', sizeBytes: 20 * MIB })
    expect(removedBy({ rules: [{ maxTotalSize: '10MiB', maxSize: '5MiB' }] }, [large, b, c])).toEqual(['large'])
  })

  it("a flood that the container's own limit takes away", () => {
    const flood = series(10, { prefix: 'flood' })
    const quiet = series(2, { prefix: 'quiet', pod: 'db-0', container: 'db', ageMs: DAY })
    const removed = removedBy({ rules: [{ maxCount: { perContainer: 2, perNamespace: 5 } }] }, [...flood, ...quiet])
    expect(removed).toEqual(flood.slice(2).map(({ fileName }) => fileName.replace('.tar', '')))
  })

  it('what another rule removes within the same scope', () => {
    const web = series(4, { prefix: 'web' })
    const db = series(3, { prefix: 'db', pod: 'db-0', container: 'db', ageMs: DAY })
    const rules = [
      { match: { container: 'counter' }, maxCount: { perNamespace: 1 } },
      { match: { namespace: 'shop' }, maxCount: { perNamespace: 4 } },
    ]
    expect(removedBy({ rules }, [...web, ...db])).toEqual(['web1', 'web2', 'web3'])
  })

  it('and every limit that it is beyond is told', () => {
    const { remove } = planRetention({
      archives: series(3),
      policy: policyOf({ rules: [{ maxCount: 1, maxAge: '90m' }] }),
      nowMillis: NOW,
    })
    expect(remove.map(({ reasons }) => reasons.map(({ text }) => text))).toEqual([
      ['maxAge 1h30m (rule 1)', 'maxCount 1 (rule 1)'],
      ['maxCount 1 (rule 1)'],
    ])
  })
})

describe('what is not known to be whole', () => {
  it.each(['hashing', 'discovered', 'damaged', 'incomplete'] as const)('takes no place: %s', (state) => {
    const good = archive({ name: 'good', ageMs: HOUR })
    expect(
      removedBy({ rules: [{ maxCount: 1, maxTotalSize: '1MiB' }] }, [archive({ name: 'new', state }), good]),
    ).toEqual([])
  })
})

describe('what a rule keeps', () => {
  it('is counted among its own: one that another rule lets go is not the last of this one', () => {
    const archives = [
      archive({ name: 'young', pod: 'web-5d9c7b6f4-x2x9k', ageMs: 2 * HOUR }),
      archive({ name: 'old', pod: 'web-76d4b9fc9c-8bqrz', ageMs: 2 * DAY }),
    ]
    const rules = [
      { match: { pod: 'web-5d9c7b6f4-x2x9k' }, maxAge: '1h' },
      { match: { namespace: 'shop' }, keepLast: 1, maxAge: '1d' },
    ]
    expect(removedBy({ rules }, archives)).toEqual(['young'])
  })
})

describe('the need of the disk', () => {
  it('never takes what is only said to be somebody’s, whatever rule names it', () => {
    const { remove, blocked } = planRetention({
      archives: series(90, { source: 'name' }),
      policy: policyOf({ rules: [{ match: { identitySource: 'name' }, maxAge: '30d' }] }),
      nowMillis: NOW,
      disk: { totalBytes: 100 * MIB, freeBytes: 5 * MIB },
    })
    expect(remove).toEqual([])
    expect(blocked.map(({ overBytes }) => overBytes)).toEqual([20 * MIB])
  })
})

describe('pins and readers', () => {
  it.each(['isPinned', 'isInUse'] as const)('count in every limit, and cost no newer archive its place: %s', (what) => {
    const held = (at: number) => series(4).map((item, place) => (place === at ? { ...item, [what]: true } : item))
    expect(removedBy({ rules: [{ maxCount: 2 }] }, held(0))).toEqual(['a2', 'a3'])
    expect(removedBy({ rules: [{ maxCount: 2 }] }, held(3))).toEqual(['a2'])
    expect(removedBy({ rules: [{ maxTotalSize: '2MiB' }] }, held(0))).toEqual(['a2', 'a3'])
  })
})
