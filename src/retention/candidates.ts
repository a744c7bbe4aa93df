import type { PlannedArchive, Reason } from './plan-types.ts'
import { isLimited, SCOPES, type Policy, type Rule, type Scope } from './policy.ts'
import { RuleBook } from './rules.ts'
import { workloadOf } from './workload.ts'

/** Archives that a limit counts together. */
export interface Group {
  readonly name: string
  /** Rules that apply to at least one of the archives. */
  readonly rules: readonly Rule[]
  /** Complete archives, newest first. */
  readonly cases: readonly Candidate[]
}

/** The rule and groups of all archives with the same identity; they share one object. */
export interface Place {
  /** Undefined if no rule matches. */
  readonly rule: Rule | undefined
  /**
   * Tenant whose disk usage the archives count toward: a namespace, or an unconfirmed claim to one.
   */
  readonly tenant: string
  /** One group per scope in use. */
  readonly groups: readonly Group[]
}

/** A limit that an archive exceeds. */
export interface Excess {
  readonly reason: Reason
  /** The limit and the group it was counted over, as text. */
  readonly limit: string
  /** True if the limit also removes archives that a rule keeps. */
  readonly isStrong: boolean
}

/** One archive and the decisions about it so far. */
export interface Candidate {
  readonly archive: PlannedArchive
  /**
   * Sort key. It may lie in the future after the clock was set back; ages are then clamped to 0.
   */
  readonly takenAtMillis: number
  readonly place: Place
  kept: readonly Reason[]
  excesses: readonly Excess[]
  goes: boolean
}

/** All archives of one plan. */
export interface Candidates {
  /** Newest first, including archives from the future; the order does not depend on the input's. */
  readonly cases: readonly Candidate[]
  /** Groups of every scope in use. */
  readonly groups: ReadonlyMap<Scope, Iterable<Group>>
}

/** Empty list shared by all candidates, because most have no entries. */
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
  // Archives that may still turn out to be damaged must not displace ones known to be good.
  const counted = cases.filter(({ archive }) => archive.state === 'ready')
  for (const { place } of counted) for (const group of place.groups) group.expect()
  for (const one of counted) for (const group of one.place.groups) group.add(one)
  return { cases, groups: places.groups }
}

/** A place whose groups are still being filled. */
interface FillingPlace extends Place {
  readonly groups: readonly FillingGroup[]
}

interface PlacedCase extends Candidate {
  readonly place: FillingPlace
}

/**
 * Allocates its list at its final size. There may be as many groups as archives, most with one or
 * two, and a growing array reserves seventeen slots.
 */
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

  /** Adds a candidate; at most as many as were expected. */
  add(one: Candidate): void {
    if (this.#added === 0) this.cases = Array.from<Candidate>({ length: this.#expected })
    this.cases[this.#added++] = one
  }
}

/**
 * Scopes that every plan needs: keeps are counted over the first, and disk relief is shared out
 * over the second.
 */
const ALWAYS: ReadonlySet<Scope> = new Set(['workloadContainer', 'namespace'])

class Places {
  readonly #book: RuleBook
  /**
   * Places by identity object, which archives of one identity and engine usually share. If they do
   * not, only the sharing is lost.
   */
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

/** Identity that determines which archives are counted together. */
interface Owner {
  /**
   * Owner of the archives. Untrusted claims are counted apart, so that a forged claim cannot
   * displace the real owner's archives.
   */
  readonly home: string
  readonly pod: string
  readonly workload: string
  readonly container: string
}

/**
 * Finds groups by the parts of their names, which avoids building and comparing a full name for
 * every archive.
 */
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
