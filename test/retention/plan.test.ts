import { describe, expect, it } from 'vitest'
import { refusalOf } from '../../src/retention/admission.ts'
import { planRetention } from '../../src/retention/plan.ts'
import { archive, DAY, HOUR, MIB, NOW, policyOf, removedBy, series } from './planned-archives.ts'

const plan = (value: unknown, archives: ReturnType<typeof series>, disk?: { totalBytes: number; freeBytes: number }) =>
  planRetention({ archives, policy: policyOf(value), nowMillis: NOW, ...(disk !== undefined && { disk }) })

function names(result: ReturnType<typeof plan>): string[] {
  return result.remove.map(({ archive: { fileName } }) => fileName.replace('.tar', ''))
}

describe('a limit', () => {
  it.each([
    { what: 'maxCount', rule: { maxCount: 3 }, removed: ['a3', 'a4'] },
    { what: 'maxAge', rule: { maxAge: '150m' }, removed: ['a3', 'a4'] },
    { what: 'maxTotalSize', rule: { maxTotalSize: '2MiB' }, removed: ['a2', 'a3', 'a4'] },
    { what: 'maxSize', rule: { maxSize: '512KiB' }, removed: ['a0', 'a1', 'a2', 'a3', 'a4'] },
    { what: 'maxCount with what is kept', rule: { maxCount: 1, keepLast: 3 }, removed: ['a3', 'a4'] },
    { what: 'maxAge with what is kept', rule: { maxAge: '1m', keepWithin: '2h' }, removed: ['a3', 'a4'] },
    { what: 'none', rule: { keepLast: 1 }, removed: [] },
  ])('$what', ({ rule, removed }) => {
    expect(removedBy({ rules: [rule] }, series(5))).toEqual(removed)
  })

  it('is counted over its scope', () => {
    const archives = [
      ...series(2, { prefix: 'old', pod: 'web-5d9c7b6f4-x2x9k', ageMs: 5 * HOUR }),
      ...series(2, { prefix: 'new', pod: 'web-76d4b9fc9c-8bqrz' }),
      ...series(2, { prefix: 'side', pod: 'web-76d4b9fc9c-8bqrz', container: 'proxy', ageMs: 3 * HOUR }),
    ]
    const removed = (maxCount: unknown) => removedBy({ rules: [{ maxCount }] }, archives).length
    expect(removed(1)).toBe(4)
    expect(removed({ perContainer: 1 })).toBe(3)
    expect(removed({ perPod: 1 })).toBe(4)
    expect(removed({ perWorkload: 1 })).toBe(5)
    expect(removed({ perNamespace: 2 })).toBe(4)
  })

  it('takes no claimed names for others that read the same when they are put together', () => {
    const claim = { source: 'name', isTrusted: false } as const
    const archives = [
      archive({ name: 'one', namespace: 'a/b', pod: 'c', container: 'd', ...claim }),
      archive({ name: 'two', namespace: 'a', pod: 'b/c', container: 'd', ...claim }),
      archive({ name: 'three', namespace: 'a', pod: 'b', container: 'c/d', ...claim }),
      archive({ name: 'four', namespace: 'a', pod: 'b', container: 'c/d', ageMs: HOUR, ...claim }),
    ]
    const rules = [{ match: { identitySource: 'name' }, maxCount: 1 }]
    expect(removedBy({ rules }, archives)).toEqual(['four'])
  })

  it('with a scope counts what is under other rules, and removes only what is under its own', () => {
    const archives = [
      ...series(3, { prefix: 'web' }),
      ...series(3, { prefix: 'db', pod: 'db-0', container: 'db', ageMs: 10 * HOUR }),
    ]
    const rules = [
      { match: { namespace: 'shop' }, maxCount: { perNamespace: 4 } },
      { match: { container: 'counter' }, keepLast: 1 },
    ]
    expect(removedBy({ rules }, archives)).toHaveLength(2)
    expect(removedBy({ rules }, archives).every((name) => name.startsWith('db'))).toBe(true)
  })
})

describe('what is kept', () => {
  const hours = [0, 1, 2, 25, 26, 49, 24 * 8, 24 * 15]
  const ofHours = hours.map((age) => archive({ name: `h${String(age)}`, ageMs: age * HOUR }))
  it.each([
    { keep: { keepLast: 2 }, kept: ['h0', 'h1'] },
    { keep: { keepHourly: 2 }, kept: ['h0', 'h1'] },
    { keep: { keepDaily: 3 }, kept: ['h0', 'h25', 'h49'] },
    { keep: { keepWeekly: 3 }, kept: ['h0', 'h192', 'h360'] },
    { keep: { keepWithin: '25h' }, kept: ['h0', 'h1', 'h2', 'h25'] },
    { keep: { keepLast: 1, keepWeekly: 2 }, kept: ['h0', 'h192'] },
  ])('$keep', ({ keep, kept }) => {
    const removed = removedBy({ rules: [{ ...keep, maxCount: 0 }] }, ofHours)
    expect(
      ofHours.map(({ fileName }) => fileName.replace('.tar', '')).filter((name) => !removed.includes(name)),
    ).toEqual(kept)
  })

  it('is counted over the workload, so that dead pods of a ReplicaSet do not each keep their last', () => {
    const pods = ['web-5d9c7b6f4-x2x9k', 'web-5d9c7b6f4-8bqrz', 'web-76d4b9fc9c-zz2zz']
    const dead = pods.map((pod, at) => archive({ name: `p${String(at)}`, pod, ageMs: at * DAY }))
    expect(removedBy({ rules: [{ keepLast: 1, maxAge: '1h' }] }, dead)).toEqual(['p1', 'p2'])
  })

  it('is whole: a damaged or unfinished one takes no place', () => {
    const archives = [
      archive({ name: 'damaged', state: 'damaged', ageMs: 0 }),
      archive({ name: 'growing', state: 'incomplete', ageMs: HOUR }),
      archive({ name: 'good', ageMs: 2 * DAY }),
    ]
    expect(removedBy({ rules: [{ keepLast: 1, maxAge: '1h' }] }, archives)).toEqual([])
  })
})

describe('the shipped policy', () => {
  it('leaves the ten newest of a container of a workload', () => {
    expect(removedBy(undefined, series(12))).toEqual(['a10', 'a11'])
  })

  it('removes the last one of a workload too when it is old, or its pod long gone', () => {
    expect(removedBy(undefined, [archive({ name: 'old', ageMs: 31 * DAY })])).toEqual(['old'])
    expect(removedBy(undefined, [archive({ name: 'orphan', orphanForMs: 8 * DAY })])).toEqual(['orphan'])
    expect(removedBy(undefined, [archive({ name: 'young', orphanForMs: 6 * DAY })])).toEqual([])
  })

  it('never removes what somebody wrote to be kept', () => {
    const old = [archive({ name: 'old', ageMs: 400 * DAY, orphanForMs: 300 * DAY })]
    expect(removedBy({ rules: [{ keepLast: 1, maxAge: '30d', orphans: '7d' }] }, old)).toEqual([])
  })

  it('removes the damaged after a week and the unfinished after a day, unless nobody knows whose they are', () => {
    const archives = [
      archive({ name: 'damaged', state: 'damaged', ageMs: 8 * DAY, source: 'name' }),
      archive({ name: 'young', state: 'damaged', ageMs: 6 * DAY }),
      archive({ name: 'unfinished', state: 'incomplete', ageMs: 25 * HOUR, source: 'name' }),
      archive({ name: 'growing', state: 'incomplete', ageMs: 23 * HOUR }),
      archive({ name: 'stranger', state: 'incomplete', ageMs: 99 * DAY, source: 'unknown' }),
    ]
    expect(removedBy(undefined, archives)).toEqual(['damaged', 'unfinished'])
  })
})

describe('doubt', () => {
  it.each([
    { why: 'a pin', wish: { isPinned: true }, code: 'pinned' },
    { why: 'a reader', wish: { isInUse: true }, code: 'inUse' },
    { why: 'a digest that is still being made', wish: { state: 'hashing' }, code: 'notReady' },
    { why: 'no more than a name', wish: { source: 'name' }, code: 'unknownIdentity' },
    { why: 'a claim that is not believed', wish: { isTrusted: false }, code: 'unknownIdentity' },
    { why: 'nothing known', wish: { source: 'unknown' }, code: 'unknownIdentity' },
  ] as const)('keeps: $why', ({ wish, code }) => {
    const { remove, keep } = plan({ rules: [{ maxAge: '1h' }] }, [archive({ name: 'a', ageMs: 90 * DAY, ...wish })])
    expect(remove).toEqual([])
    expect(keep[0]?.reasons.map((reason) => reason.code)).toEqual([code])
  })

  it('keeps: a clock that went back a day makes nothing older, and nothing from the future newer than new', () => {
    const future = archive({ name: 'future', ageMs: -DAY })
    expect(removedBy({ rules: [{ maxAge: '1h' }] }, [future, archive({ name: 'now', ageMs: 30 * 60_000 })])).toEqual([])
    expect(removedBy({ rules: [{ maxCount: 1 }] }, [future, archive({ name: 'now', ageMs: 1 })])).toEqual(['now'])
  })

  it('says which pins are in the way of a limit, once for the limit', () => {
    const archives = series(4, { isPinned: true })
    const { blocked, remove } = plan({ rules: [{ maxCount: 2 }] }, archives)
    expect(remove).toEqual([])
    expect(blocked).toEqual([
      {
        limit: 'maxCount 2 (rule 1) for shop/web/counter',
        overCount: 2,
        overBytes: 2 * MIB,
        by: expect.arrayContaining([{ id: archives[2]?.id, fileName: 'a2.tar', why: 'pinned' }]),
      },
    ])
  })
})

describe('a full disk', () => {
  const disk = { totalBytes: 100 * MIB, freeBytes: 10 * MIB }
  const keepAll = { rules: [{ maxCount: 1000 }], disk: { highWatermark: '85%', lowWatermark: '75%' } }

  it('takes from the namespace that holds most, the oldest first, and no more than is needed', () => {
    const flood = series(50, { prefix: 'flood', namespace: 'noisy' })
    const evidence = series(5, { prefix: 'evidence', namespace: 'quiet', ageMs: 20 * DAY })
    const removed = names(plan(keepAll, [...evidence, ...flood], disk))
    expect(removed).toEqual(Array.from({ length: 15 }, (_, at) => `flood${String(49 - at)}`))
  })

  it('goes on with the next namespace when both hold as much', () => {
    const archives = ['one', 'two'].flatMap((namespace) => series(10, { prefix: namespace, namespace }))
    const removed = names(plan(keepAll, archives, disk))
    expect(
      removed.filter((name) => name.startsWith('one')).length - removed.filter((name) => name.startsWith('two')).length,
    ).toBeLessThanOrEqual(1)
    expect(removed).toHaveLength(15)
  })

  it('is left alone below the high watermark', () => {
    expect(plan(keepAll, series(20), { totalBytes: 100 * MIB, freeBytes: 16 * MIB }).remove).toEqual([])
  })

  it('counts what the rules remove anyway', () => {
    const policy = { ...keepAll, rules: [{ maxCount: 10 }] }
    expect(names(plan(policy, series(24), disk))).toHaveLength(15)
    expect(names(plan(policy, series(26), disk))).toHaveLength(16)
  })

  it('honours minFree where the watermark is not reached', () => {
    const policy = { rules: keepAll.rules, disk: { highWatermark: '85%', lowWatermark: '75%', minFree: '40MiB' } }
    expect(plan(policy, series(50), { totalBytes: 100 * MIB, freeBytes: 35 * MIB }).remove).toHaveLength(5)
  })

  it('that something else fills is not ours to empty', () => {
    const { remove, diskNotOurs } = plan(keepAll, series(14), disk)
    expect({ remove, diskNotOurs }).toEqual({ remove: [], diskNotOurs: true })
    expect(plan(keepAll, series(15), disk).diskNotOurs).toBe(false)
  })

  it('keeps pins, readers and what a rule keeps, and says that it is not enough', () => {
    const archives = [
      ...series(10, { prefix: 'pinned', isPinned: true }),
      ...series(10, { prefix: 'kept', pod: 'db-0' }),
      ...series(3, { prefix: 'free', pod: 'cache-0' }),
    ]
    const policy = {
      ...keepAll,
      rules: [{ maxCount: 1000 }, { match: { workload: 'db' }, keepLast: 100 }],
    }
    const { remove, blocked } = plan(policy, archives, disk)
    expect(remove).toHaveLength(3)
    expect(blocked).toHaveLength(1)
    expect(blocked[0]).toMatchObject({ limit: 'disk 85% to 75%', overBytes: 12 * MIB })
    expect(blocked[0]?.by).toHaveLength(20)
  })
})

describe('admission', () => {
  const newcomer = {
    namespace: 'shop',
    pod: 'web-0',
    container: 'counter',
    engine: 'containerd',
    sizeBytes: 11 * MIB,
  } as const

  it('refuses what a limit of its namespace would remove again at once, and nothing else', () => {
    const limited = { rules: [{ match: { namespace: 'shop' }, maxTotalSize: { perNamespace: '10MiB' } }] }
    expect(refusalOf(newcomer, policyOf(limited))).toContain('namespace shop')
    expect(refusalOf({ ...newcomer, sizeBytes: 10 * MIB }, policyOf(limited))).toBeUndefined()
    expect(refusalOf({ ...newcomer, namespace: 'other' }, policyOf(limited))).toBeUndefined()
    expect(refusalOf(newcomer, policyOf(undefined))).toBeUndefined()
    const kept = { rules: [{ keepLast: 1, maxTotalSize: { perNamespace: '10MiB' } }] }
    expect(refusalOf(newcomer, policyOf(kept))).toBeUndefined()
  })
})

describe('the policies of checkpoint-restore-operator, in ours', () => {
  const perContainer = series(3, { prefix: 'c' })
  const otherContainer = series(3, { prefix: 'o', container: 'other', ageMs: 10 * HOUR })
  const otherPod = series(3, { prefix: 'p', pod: 'db-0', ageMs: 20 * HOUR })
  const otherNamespace = series(3, { prefix: 'n', namespace: 'shop-b' })
  const all = [...perContainer, ...otherContainer, ...otherPod, ...otherNamespace]
  it.each([
    { theirs: 'global maxCheckpoints 2 (for each container)', rules: [{ maxCount: { perContainer: 2 } }], count: 4 },
    {
      theirs: 'container maxCheckpoints 1',
      rules: [{ match: { namespace: 'shop', pod: 'web-*', container: 'counter' }, maxCount: { perContainer: 1 } }],
      count: 2,
    },
    {
      theirs: 'pod maxCheckpoints 2',
      rules: [{ match: { namespace: 'shop', workload: 'web' }, maxCount: { perPod: 2 } }],
      count: 4,
    },
    {
      theirs: 'namespace maxCheckpoints 4',
      rules: [{ match: { namespace: 'shop' }, maxCount: { perNamespace: 4 } }],
      count: 5,
    },
    {
      theirs: 'maxTotalSize 5Mi of a namespace',
      rules: [{ match: { namespace: 'shop' }, maxTotalSize: { perNamespace: '5Mi' } }],
      count: 4,
    },
    { theirs: 'maxCheckpointSize 512Ki', rules: [{ match: { namespace: 'shop-b' }, maxSize: '512Ki' }], count: 3 },
    { theirs: 'retainOrphan false', rules: [{ orphans: '0s' }], count: 0 },
  ])('$theirs', ({ rules, count }) => {
    expect(removedBy({ rules }, all)).toHaveLength(count)
  })

  it('an orphan goes once its pod was seen to be gone, and long enough', () => {
    const archives = [
      archive({ name: 'gone', orphanForMs: 2 * HOUR }),
      archive({ name: 'just', orphanForMs: 30 * 60_000 }),
      archive({ name: 'nobody-knows' }),
    ]
    expect(removedBy({ rules: [{ orphans: '0s' }] }, archives)).toEqual(['gone'])
  })
})

describe('what the operator does and we do not', () => {
  it('counts namespace team-a under team', () => {
    const archives = [
      ...series(3, { prefix: 'team', namespace: 'team' }),
      ...series(9, { prefix: 'a', namespace: 'team-a' }),
    ]
    expect(removedBy({ rules: [{ match: { namespace: 'team' }, maxCount: { perNamespace: 2 } }] }, archives)).toEqual([
      'team2',
    ])
  })

  it('deletes as an orphan what it could not ask about', () => {
    expect(removedBy({ rules: [{ orphans: '0s' }] }, series(3))).toEqual([])
  })

  it('misses the pods of a ReplicaSet, and begins anew with every rollout', () => {
    const archives = [
      ...series(2, { prefix: 'old', pod: 'web-5d9c7b6f4-x2x9k', ageMs: DAY }),
      ...series(2, { prefix: 'new', pod: 'web-76d4b9fc9c-8bqrz' }),
    ]
    expect(removedBy({ rules: [{ match: { workload: 'web' }, maxCount: 2 }] }, archives)).toEqual(['old0', 'old1'])
  })

  it('knows neither age nor free disk', () => {
    expect(removedBy({ rules: [{ maxAge: '90m' }] }, series(3))).toEqual(['a2'])
    expect(
      plan(undefined, series(9, { sizeBytes: 10 * MIB }), { totalBytes: 100 * MIB, freeBytes: 5 * MIB }).remove,
    ).toHaveLength(2)
  })
})

describe('the id of a plan', () => {
  const archives = series(3)
  const idOf = (value: unknown, of = archives) => plan(value, of).id
  const policy = { rules: [{ maxCount: 1 }] }

  it('is the same for the same, in whatever order it comes', () => {
    expect(idOf(policy, archives.toReversed())).toBe(idOf(policy))
  })

  it('is another one for another policy, archive or generation', () => {
    const [first, second, third] = archives
    if (first === undefined || second === undefined || third === undefined) throw new Error('there are three')
    const ids = [
      idOf(policy),
      idOf({ rules: [{ maxCount: 2 }] }),
      idOf({ rules: [{ maxCount: 1, maxAge: '30d' }] }),
      idOf(policy, [first, second]),
      idOf(policy, [first, second, { ...third, generation: '2' }]),
    ]
    expect(new Set(ids).size).toBe(ids.length)
  })
})
