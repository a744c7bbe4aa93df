import type { PlannedArchive, Reason } from './plan-types.ts'
import { isLimited, SCOPES, type Policy, type Rule, type Scope } from './policy.ts'
import { RuleBook } from './rules.ts'
import { workloadOf } from './workload.ts'

/** Archives that are counted together. */
export interface Group {
  readonly name: string
  /** Under which rules they are. */
  readonly rules: readonly Rule[]
  /** Whole ones, newest first. */
  readonly cases: readonly Candidate[]
}

/** Where archives of one identity belong; one object for all of them. */
export interface Place {
  /** Undefined: no rule is about it. */
  readonly rule: Rule | undefined
  /** Whose part of the disk it takes: a namespace, or what is only said to be one. */
  readonly tenant: string
  /** One of each scope that is counted. */
  readonly groups: readonly Group[]
}

/** A limit that an archive is beyond. */
export interface Excess {
  readonly reason: Reason
  /** The limit and what it was counted over, in words. */
  readonly limit: string
  /** Even what is kept goes. */
  readonly isStrong: boolean
}

/** One archive, and what has been found out about it so far. */
export interface Candidate {
  readonly archive: PlannedArchive
  /** Its place among the others. It may lie in the future, after the clock went back: ages are held down to 0. */
  readonly takenAtMillis: number
  readonly place: Place
  kept: readonly Reason[]
  excesses: readonly Excess[]
  goes: boolean
}

/** All archives of one plan. */
export interface Candidates {
  /** Newest first, also those from the future; the same order whatever order they came in. */
  readonly cases: readonly Candidate[]
  /** Of each scope that is counted. */
  readonly groups: ReadonlyMap<Scope, Iterable<Group>>
}

/** One for all: most archives stay without. */
const NONE: readonly never[] = []

export function openCases(archives: readonly PlannedArchive[], policy: Policy): Candidates {
  const places = new Places(policy)
  const cases = archives.map((archive): PlacedCase => ({
    archive,
    takenAtMillis: Math.min(archive.takenAtMillis, archive.modifiedAtMillis),
    place: places.of(archive),
    kept: NONE,
    excesses: NONE,
    goes: false,
  }))
  cases.sort((a, b) => b.takenAtMillis - a.takenAtMillis || (a.archive.id < b.archive.id ? 1 : -1))
  // One that may yet prove to be damaged takes no place from one that is known to be good.
  const counted = cases.filter(({ archive }) => archive.state === 'ready')
  for (const { place } of counted) for (const group of place.groups) group.expect()
  for (const one of counted) for (const group of one.place.groups) group.add(one)
  return { cases, groups: places.groups }
}

/** While the groups are being filled. */
interface FillingPlace extends Place {
  readonly groups: readonly FillingGroup[]
}

interface PlacedCase extends Candidate {
  readonly place: FillingPlace
}

/** There can be as many groups as archives, most of them with one or two: what grows takes room for seventeen. */
class FillingGroup implements Group {
  readonly name: string
  rules: readonly Rule[]
  cases: Candidate[] = []
  #expected = 0
  #added = 0

  constructor(name: string, rule: Rule | undefined) {
    this.name = name
    this.rules = rule === undefined ? [] : [rule]
  }

  addRule(rule: Rule): void {
    if (!this.rules.includes(rule)) this.rules = [...this.rules, rule]
  }

  expect(): void {
    this.#expected += 1
  }

  /** Not more of them than were expected. */
  add(one: Candidate): void {
    if (this.#added === 0) this.cases = Array.from<Candidate>({ length: this.#expected })
    this.cases[this.#added++] = one
  }
}

/** What has a group in every plan: keeps are counted over the one, the disk's need is shared out over the other. */
const ALWAYS: ReadonlySet<Scope> = new Set(['workloadContainer', 'namespace'])

class Places {
  readonly #book: RuleBook
  /** Archives of one identity usually share the object, and have one engine; where they do not, they only share less. */
  readonly #places = new Map<PlannedArchive['identity'], FillingPlace & Pick<PlannedArchive, 'engine'>>()
  readonly #scopes: readonly GroupsOfScope[]
  readonly #workloads = new Map<string, string>()

  constructor({ rules }: Policy) {
    this.#book = new RuleBook(rules)
    const used = SCOPES.filter((scope) => ALWAYS.has(scope) || rules.some((rule) => isLimited(rule, scope)))
    this.#scopes = used.map((scope) => new GroupsOfScope(scope))
  }

  get groups(): Candidates['groups'] {
    return new Map(this.#scopes.map(({ scope, all }) => [scope, all]))
  }

  of(archive: PlannedArchive): FillingPlace {
    const { identity, engine } = archive
    const known = this.#places.get(identity)
    if (known?.engine === engine) return known
    const owner = this.#ownerOf(identity)
    const rule = this.#book.ruleOf(archive)
    const groups = this.#scopes.map((scope) => scope.of(owner, rule))
    const place = { rule, tenant: owner.home, groups, engine }
    this.#places.set(identity, place)
    return place
  }

  #ownerOf({ namespace = '', pod = '', container = '', source, isTrusted }: PlannedArchive['identity']): Owner {
    const workload = getOrAdd(this.#workloads, pod, () => workloadOf(pod))
    return { home: isTrusted ? namespace : `(${source}) ${namespace}`, pod, workload, container }
  }
}

/** Whose archives are counted together. */
interface Owner {
  /** What only claims to be somebody's is counted apart: else whoever writes claims could push that one's archives out. */
  readonly home: string
  readonly pod: string
  readonly workload: string
  readonly container: string
}

/** By the parts of their names, which are shared: names put together would have to be made and compared for each archive. */
class GroupsOfScope {
  readonly all: FillingGroup[] = []
  readonly scope: Scope
  readonly #byHome = new Map<string, Map<string, Map<string, FillingGroup>>>()

  constructor(scope: Scope) {
    this.scope = scope
  }

  of(owner: Owner, rule: Rule | undefined): FillingGroup {
    const parts = partsOf(owner, this.scope)
    const [home, within = '', container = ''] = parts
    const ofHome = getOrAdd(this.#byHome, home, () => new Map<string, Map<string, FillingGroup>>())
    const byContainer = getOrAdd(ofHome, within, () => new Map<string, FillingGroup>())
    let group = byContainer.get(container)
    if (group === undefined) {
      group = new FillingGroup(parts.join('/'), rule)
      byContainer.set(container, group)
      this.all.push(group)
    }
    if (rule !== undefined) group.addRule(rule)
    return group
  }
}

function partsOf({ home, pod, workload, container }: Owner, scope: Scope): readonly [string, string?, string?] {
  if (scope === 'namespace') return [home]
  if (scope === 'pod') return [home, pod]
  if (scope === 'workload') return [home, workload]
  return [home, scope === 'container' ? pod : workload, container]
}

function getOrAdd<Key, Value>(map: Map<Key, Value>, key: Key, make: () => Value): Value {
  let value = map.get(key)
  if (value === undefined) {
    value = make()
    map.set(key, value)
  }
  return value
}
