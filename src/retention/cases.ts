import type { PlannedArchive, Reason } from './plan-types.ts'
import { isLimited, SCOPES, type Policy, type Rule, type Scope } from './policy.ts'
import { RuleBook } from './rules.ts'
import { workloadOf } from './workload.ts'

/** Archives that are counted together. */
export interface Group {
  readonly name: string
  /** Under which rules they are. */
  readonly rules: Rule[]
  /** Whole ones, newest first. */
  readonly cases: Case[]
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
export interface Case {
  readonly archive: PlannedArchive
  /** Its place among the others. It may lie in the future, after the clock went back: ages are held down to 0. */
  readonly takenAtMillis: number
  readonly place: Place
  kept: readonly Reason[]
  excesses: readonly Excess[]
  goes: boolean
}

/** All archives of one plan. */
export interface CaseBook {
  /** Newest first, also those from the future; the same order whatever order they came in. */
  readonly cases: readonly Case[]
  /** Of each scope that is counted. */
  readonly groups: ReadonlyMap<Scope, Iterable<Group>>
}

export function openCases(archives: readonly PlannedArchive[], policy: Policy): CaseBook {
  const places = new Places(policy)
  const cases = archives
    .map((archive): Case => ({
      archive,
      takenAtMillis: Math.min(archive.takenAtMillis, archive.modifiedAtMillis),
      place: places.of(archive),
      kept: [],
      excesses: [],
      goes: false,
    }))
    .toSorted((a, b) => b.takenAtMillis - a.takenAtMillis || (a.archive.id < b.archive.id ? 1 : -1))
  for (const one of cases) {
    // One that may yet prove to be damaged takes no place from one that is known to be good.
    if (one.archive.state === 'ready') for (const group of one.place.groups) group.cases.push(one)
  }
  return { cases, groups: places.groups }
}

/** What has a group in every plan: keeps are counted over the one, the disk's need is shared out over the other. */
const ALWAYS: ReadonlySet<Scope> = new Set(['workloadContainer', 'namespace'])

class Places {
  readonly #book: RuleBook
  readonly #places = new Map<string, Place>()
  readonly #groups: ReadonlyMap<Scope, Map<string, Group>>

  constructor({ rules }: Policy) {
    this.#book = new RuleBook(rules)
    const used = SCOPES.filter((scope) => ALWAYS.has(scope) || rules.some((rule) => isLimited(rule, scope)))
    this.#groups = new Map(used.map((scope) => [scope, new Map<string, Group>()]))
  }

  get groups(): CaseBook['groups'] {
    return new Map([...this.#groups].map(([scope, groups]) => [scope, [...groups.values()]]))
  }

  of(archive: PlannedArchive): Place {
    const { identity, engine } = archive
    const { namespace = '', pod = '', container = '', source, isBelieved } = identity
    // No text holds a line's end: it would stand there escaped.
    const key = `${namespace}\n${pod}\n${container}\n${source}\n${engine}\n${isBelieved}`
    let place = this.#places.get(key)
    if (place === undefined) {
      const rule = this.#book.ruleOf(archive)
      place = { rule, tenant: nameOf(archive, 'namespace'), groups: this.#groupsOf(archive, rule) }
      this.#places.set(key, place)
    }
    return place
  }

  #groupsOf(archive: PlannedArchive, rule: Rule | undefined): Group[] {
    return [...this.#groups].map(([scope, known]) => {
      const name = nameOf(archive, scope)
      let group = known.get(name)
      if (group === undefined) {
        group = { name, rules: [], cases: [] }
        known.set(name, group)
      }
      if (rule !== undefined && !group.rules.includes(rule)) group.rules.push(rule)
      return group
    })
  }
}

/** What only claims to be somebody's is counted apart: else whoever writes claims could push that one's archives out. */
function nameOf({ identity }: PlannedArchive, scope: Scope): string {
  const { namespace = '', pod = '', container = '', source, isBelieved } = identity
  const home = isBelieved ? namespace : `(${source}) ${namespace}`
  if (scope === 'namespace') return home
  const owner = scope === 'pod' || scope === 'container' ? pod : workloadOf(pod)
  return scope === 'pod' || scope === 'workload' ? `${home}/${owner}` : `${home}/${owner}/${container}`
}
