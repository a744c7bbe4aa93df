import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { refusalOf } from '../../src/retention/admission.ts'
import type { Plan, PlannedArchive } from '../../src/retention/plan-types.ts'
import { planRetention } from '../../src/retention/plan.ts'
import type { Keeps, Policy } from '../../src/retention/policy.ts'
import { RuleBook } from '../../src/retention/rules.ts'
import { workloadOf } from '../../src/retention/workload.ts'
import { archive, DAY, HOUR, MIB, NOW, policyOf } from './planned-archives.ts'
import { PODS, counts, crowds, disks, durations, keeps, policies, rulesForAll, sizes, stores } from './random-stores.ts'

const RUNS = 2_000

const planFor = (
  archives: readonly PlannedArchive[],
  policy: Policy,
  disk?: { totalBytes: number; freeBytes: number },
) => planRetention({ archives, policy, nowMillis: NOW, ...(disk !== undefined && { disk }) })

const idsOf = ({ remove }: Plan) => new Set(remove.map(({ archive: { id } }) => id))

const check = <Values extends unknown[]>(property: fc.IProperty<Values>) => fc.assert(property, { numRuns: RUNS })

describe('whatever the archives, the policy and the disk', () => {
  it('nothing pinned, in use or unready goes, and nothing of unknown identity that no rule names', () => {
    check(
      fc.property(stores, policies, disks, (archives, policy, disk) => {
        const namesSources = policy.rules.some(({ match }) => match.identitySource !== undefined)
        const gone = planFor(archives, policy, disk).remove.map((removal) => removal.archive)
        expect(gone.filter(({ isPinned, isInUse }) => isPinned || isInUse)).toEqual([])
        expect(gone.filter(({ state }) => state === 'hashing' || state === 'discovered')).toEqual([])
        const doubted = ({ identity, state }: PlannedArchive) =>
          state === 'ready' ? !namesSources && !identity.isTrusted : identity.source === 'unknown'
        expect(gone.filter(doubted)).toEqual([])
        const isYoung = ({ state, modifiedAtMillis }: PlannedArchive) =>
          (state === 'incomplete' && NOW - modifiedAtMillis <= policy.incompleteAfterMs) ||
          (state === 'damaged' && NOW - modifiedAtMillis <= policy.damagedAfterMs)
        expect(gone.filter(isYoung)).toEqual([])
      }),
    )
  })

  it('what one rule for all keeps is there afterwards: by number, by time, by spans of time', () => {
    check(
      fc.property(stores, rulesForAll, disks, (archives, rule, disk) => {
        const gone = idsOf(planFor(archives, policyOf({ rules: [rule] }), disk))
        for (const group of wholeByContainer(archives)) {
          for (const id of keptByHand(group, rule)) expect(gone.has(id)).toBe(false)
        }
      }),
    )
  })

  it('what each of several written rules keeps of its own is there afterwards', () => {
    check(
      fc.property(fc.oneof(stores, crowds), policies, disks, (archives, policy, disk) => {
        const gone = idsOf(planFor(archives, policy, disk))
        const book = new RuleBook(policy.rules)
        for (const rule of policy.rules.filter(({ isShipped }) => !isShipped)) {
          const own = archives.filter((item) => book.ruleOf(item) === rule)
          const kept = wholeByContainer(own).flatMap((group) => keptByHand(group, asWritten(rule.keeps)))
          expect(kept.filter((id) => gone.has(id))).toEqual([])
        }
      }),
    )
  })

  it('a number for the namespace leaves as many as it says, whatever else goes', () => {
    const limits = fc.record(
      { maxAge: durations, maxSize: sizes, orphans: durations, keepLast: counts },
      { requiredKeys: [] },
    )
    const numbers = fc.record(
      { perNamespace: counts, perContainer: counts, perPod: counts },
      { requiredKeys: ['perNamespace'] },
    )
    check(
      fc.property(stores, limits, numbers, (archives, others, maxCount) => {
        const { remove, keep } = planFor(archives, policyOf({ rules: [{ ...others, maxCount }] }))
        const cut = remove.filter(({ reasons }) =>
          reasons.every(({ text }) => text.startsWith('maxCount perNamespace')),
        )
        for (const {
          archive: { identity },
        } of cut) {
          const left = keep.filter(
            ({ archive: { state, identity: its } }) =>
              state === 'ready' && its.isTrusted && its.namespace === identity.namespace,
          )
          expect(left.length).toBeGreaterThanOrEqual(maxCount.perNamespace)
        }
      }),
    )
  })

  it('a clock that goes back removes nothing that would not go anyway', () => {
    // What is no orphan yet, or is again within what is kept, takes a place again: those stay out of this.
    const steady = rulesForAll.filter(({ orphans, keepWithin }) => orphans === undefined && keepWithin === undefined)
    check(
      fc.property(fc.oneof(stores, crowds), steady, fc.integer({ min: 0, max: 3 * DAY }), (archives, rule, backMs) => {
        const policy = policyOf({ rules: [rule] })
        const gone = idsOf(planFor(archives, policy))
        const back = planRetention({ archives, policy, nowMillis: NOW - backMs })
        expect([...idsOf(back)].filter((id) => !gone.has(id))).toEqual([])
      }),
    )
  })

  it('the plan does not depend on the order of its input', () => {
    const shuffled = stores.chain((archives) =>
      fc.tuple(fc.constant(archives), fc.shuffledSubarray(archives, { minLength: archives.length })),
    )
    check(
      fc.property(shuffled, policies, disks, ([archives, others], policy, disk) => {
        expect(planFor(others, policy, disk)).toEqual(planFor(archives, policy, disk))
      }),
    )
  })

  it('once it is done, the next plan has nothing to do', () => {
    check(
      fc.property(stores, policies, disks, (archives, policy, disk) => {
        const first = planFor(archives, policy, disk)
        const gone = idsOf(first)
        const left = archives.filter(({ id }) => !gone.has(id))
        const after = disk && { ...disk, freeBytes: disk.freeBytes + first.totals.removedBytes }
        expect([...idsOf(planFor(left, policy, after))]).toEqual([])
      }),
    )
  })

  it('each archive is in one of the two lists with a reason, and the totals are those of the lists', () => {
    check(
      fc.property(stores, policies, disks, (archives, policy, disk) => {
        const { remove, keep, totals } = planFor(archives, policy, disk)
        const ids = [...remove, ...keep].map(({ archive: { id } }) => id)
        expect(ids.toSorted()).toEqual(archives.map(({ id }) => id).toSorted())
        expect([...remove, ...keep].every(({ reasons }) => reasons.length > 0)).toBe(true)
        const removedBytes = remove.reduce((sum, { archive: { sizeBytes } }) => sum + sizeBytes, 0)
        expect(totals).toMatchObject({ archives: archives.length, removedArchives: remove.length, removedBytes })
      }),
    )
  })

  it('what would be removed again at once for its size is refused, and nothing else', () => {
    const newcomers = fc.record({
      namespace: fc.constantFrom('shop', 'team', 'team-a'),
      pod: fc.constantFrom(...PODS),
      container: fc.constantFrom('counter', 'proxy'),
      sizeBytes: fc.integer({ min: 1, max: 80 * MIB }),
    })
    check(
      fc.property(stores, policies, newcomers, (archives, policy, wish) => {
        const older = archives.filter(({ takenAtMillis }) => takenAtMillis < NOW)
        const newcomer = archive({ name: 'newcomer', source: 'observed', ...wish })
        const gone = planFor([...older, newcomer], policy).remove.find((removal) => removal.archive === newcomer)
        const refusal = refusalOf({ ...wish, engine: newcomer.engine }, policy)
        expect(refusal !== undefined).toBe(gone !== undefined)
      }),
    )
  })

  it('a disk that something else fills costs no archive', () => {
    check(
      fc.property(stores, policies, (archives, policy) => {
        const bytes = archives.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0)
        const disk = { totalBytes: (bytes + MIB) * 10, freeBytes: 0 }
        const plan = planFor(archives, policy, disk)
        expect(plan.diskNotOurs).toBe(true)
        expect(idsOf(plan)).toEqual(idsOf(planFor(archives, policy)))
      }),
    )
  })
})

describe('a single limit', () => {
  const LIMITS: readonly { name: string; write: (value: number) => object }[] = [
    { name: 'maxCount', write: (value) => ({ maxCount: value }) },
    { name: 'maxCount perNamespace', write: (value) => ({ maxCount: { perNamespace: value } }) },
    { name: 'maxTotalSize perPod', write: (value) => ({ maxTotalSize: { perPod: `${String(value * 4)}MiB` } }) },
    { name: 'maxAge', write: (value) => ({ maxAge: `${String(value * 20)}h` }) },
    { name: 'maxSize', write: (value) => ({ maxSize: `${String(value)}MiB` }) },
    { name: 'orphans', write: (value) => ({ orphans: `${String(value * 9)}h` }) },
  ]

  it.each(LIMITS)('$name, made stricter, removes the same and perhaps more', ({ write }) => {
    const values = fc.tuple(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 1, max: 40 }))
    check(
      fc.property(stores, values, keeps, (archives, [one, other], keep) => {
        const strict = idsOf(planFor(archives, policyOf({ rules: [{ ...write(Math.min(one, other)), ...keep }] })))
        const lax = idsOf(planFor(archives, policyOf({ rules: [{ ...write(Math.max(one, other)), ...keep }] })))
        expect([...lax].filter((id) => !strict.has(id))).toEqual([])
      }),
    )
  })
})

/** Believed and ready, newest first, as the plan is told to order them. */
function wholeByContainer(archives: readonly PlannedArchive[]): PlannedArchive[][] {
  const groups = new Map<string, PlannedArchive[]>()
  for (const item of archives) {
    if (item.state !== 'ready' || !item.identity.isTrusted) continue
    const { namespace = '', pod = '', container = '' } = item.identity
    const key = `${namespace}/${workloadOf(pod)}/${container}`
    groups.set(key, [...(groups.get(key) ?? []), item])
  }
  return [...groups.values()].map((group) =>
    group.toSorted((a, b) => takenAt(b) - takenAt(a) || (a.id < b.id ? 1 : -1)),
  )
}

function takenAt({ takenAtMillis }: PlannedArchive): number {
  return takenAtMillis
}

interface WrittenKeeps {
  readonly keepLast?: number
  readonly keepHourly?: number
  readonly keepDaily?: number
  readonly keepWeekly?: number
  readonly keepWithin?: string
}

function asWritten({ last = 0, hourly = 0, daily = 0, weekly = 0, withinMs }: Keeps): WrittenKeeps {
  const keepWithin = withinMs === undefined ? {} : { keepWithin: `${String(withinMs / HOUR)}h` }
  return { keepLast: last, keepHourly: hourly, keepDaily: daily, keepWeekly: weekly, ...keepWithin }
}

/** The same once more, in another way. */
function keptByHand(group: readonly PlannedArchive[], rule: WrittenKeeps): string[] {
  const { keepLast = 0, keepHourly = 0, keepDaily = 0, keepWeekly = 0, keepWithin } = rule
  const kept = group.slice(0, keepLast).map(({ id }) => id)
  const spans = [
    [keepHourly, (millis: number) => new Date(millis).toISOString().slice(0, 13)],
    [keepDaily, (millis: number) => new Date(millis).toISOString().slice(0, 10)],
    [keepWeekly, mondayOf],
  ] as const
  for (const [count, spanOf] of spans) {
    const newest = new Map<string, string>()
    for (const item of group) if (!newest.has(spanOf(takenAt(item)))) newest.set(spanOf(takenAt(item)), item.id)
    kept.push(...[...newest.values()].slice(0, count))
  }
  const withinMs = keepWithin === undefined ? -1 : Number.parseInt(keepWithin, 10) * HOUR
  return [...kept, ...group.filter((item) => NOW - takenAt(item) <= withinMs).map(({ id }) => id)]
}

function mondayOf(millis: number): string {
  const date = new Date(millis)
  date.setUTCDate(date.getUTCDate() - ((date.getUTCDay() + 6) % 7))
  return date.toISOString().slice(0, 10)
}
