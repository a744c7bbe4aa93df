import * as fc from 'fast-check'
import { archive, DAY, MIB, policyOf } from './planned-archives.ts'

// Stores, policies and disks as they come, for properties that hold whatever they are.

export const PODS = ['web-5d9c7b6f4-x2x9k', 'web-76d4b9fc9c-8bqrz', 'db-0', 'db-1', 'job-29340120-q9wzx', 'lonely']

const wishes = fc.record({
  namespace: fc.constantFrom('shop', 'team', 'team-a'),
  pod: fc.constantFrom(...PODS),
  container: fc.constantFrom('counter', 'proxy'),
  ageMs: fc.integer({ min: -2 * DAY, max: 60 * DAY }),
  sizeBytes: fc.integer({ min: 1, max: 20 * MIB }),
  source: fc.constantFrom('archive', 'archive', 'archive', 'observed', 'name', 'unknown'),
  state: fc.constantFrom('ready', 'ready', 'ready', 'ready', 'damaged', 'incomplete', 'hashing', 'discovered'),
  isPinned: fc.integer({ min: 0, max: 9 }).map((value) => value === 0),
  isInUse: fc.integer({ min: 0, max: 9 }).map((value) => value === 0),
  orphanForMs: fc.option(fc.integer({ min: 0, max: 20 * DAY }), { nil: undefined }),
})

export const stores = fc
  .array(wishes, { maxLength: 40 })
  .map((list) =>
    list.map(({ orphanForMs, ...wish }, at) =>
      archive({ name: `a${String(at)}`, ...wish, ...(orphanForMs !== undefined && { orphanForMs }) }),
    ),
  )

/** Of one workload's container, within a few days: so that they stand in each other's way. */
export const crowds = fc
  .array(fc.record({ pod: fc.constantFrom(...PODS.slice(0, 2)), ageMs: fc.integer({ min: 0, max: 4 * DAY }) }), {
    maxLength: 12,
  })
  .map((list) => list.map((wish, at) => archive({ name: `a${String(at)}`, ...wish })))

export const durations = fc.integer({ min: 1, max: 40 * 24 }).map((hours) => `${String(hours)}h`)
export const sizes = fc.integer({ min: 1, max: 60 }).map((mebibytes) => `${String(mebibytes)}MiB`)
export const counts = fc.integer({ min: 1, max: 8 })
const scoped = <Value>(values: fc.Arbitrary<Value>) =>
  fc.oneof(
    values,
    fc
      .record({ perContainer: values, perPod: values, perWorkload: values, perNamespace: values }, { requiredKeys: [] })
      .filter((record) => Object.keys(record).length > 0),
  )
export const keeps = fc.record(
  { keepLast: counts, keepHourly: counts, keepDaily: counts, keepWeekly: counts, keepWithin: durations },
  { requiredKeys: [] },
)
const matches = fc.record(
  {
    namespace: fc.constantFrom('shop', 'team', 'team*', '*'),
    pod: fc.constantFrom('web-*', 'web-5*', 'db-0'),
    container: fc.constantFrom('counter', '*y'),
    workload: fc.constantFrom('web', 'db', '*'),
    identitySource: fc.constantFrom('name', 'unknown', 'archive', '*'),
  },
  { requiredKeys: [] },
)
const rules = fc
  .tuple(
    matches,
    keeps,
    fc.record(
      {
        maxCount: scoped(counts),
        maxTotalSize: scoped(sizes),
        maxAge: durations,
        maxSize: sizes,
        orphans: durations,
      },
      { requiredKeys: [] },
    ),
  )
  .map(([match, keep, limits]) => ({ match, ...keep, ...limits }))
  .filter((rule) => Object.keys(rule).length > 1)
export const rulesForAll = rules.map((rule) => ({ ...rule, match: {} })).filter((rule) => Object.keys(rule).length > 1)
const aboutWhat = ({ match }: { readonly match: object }) => JSON.stringify(match)
export const policies = fc
  .record(
    { rules: fc.uniqueArray(rules, { minLength: 1, maxLength: 4, selector: aboutWhat }), orphanGrace: durations },
    { requiredKeys: ['rules'] },
  )
  .map((value) => policyOf(value))
export const disks = fc.option(
  fc.integer({ min: 0, max: 100 }).map((free) => ({ totalBytes: 600 * MIB, freeBytes: free * 6 * MIB })),
  { nil: undefined },
)
