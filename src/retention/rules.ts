import type { PlannedArchive } from './plan-types.ts'
import type { Match, MatchField, Rule } from './policy.ts'
import { workloadOf } from './workload.ts'

/** Match fields in decreasing order of specificity. */
const BY_CLOSENESS: readonly MatchField[] = ['container', 'pod', 'workload', 'namespace', 'engine', 'identitySource']

/** Match fields that only a trusted identity can satisfy. */
const OF_IDENTITY: readonly MatchField[] = ['container', 'pod', 'workload', 'namespace']

/**
 * Finds the rule that applies to an archive: the most specific one, and the first of equally
 * specific ones.
 */
export class RuleBook {
  readonly #rules: readonly CompiledRule[]

  constructor(rules: readonly Rule[]) {
    this.#rules = rules
      .map((rule, order) => ({
        rule,
        order,
        closeness: closenessOf(rule.match),
        isForDoubtful: canNameDoubtful(rule.match),
        tests: testsOf(rule.match),
      }))
      .toSorted((a, b) => b.closeness - a.closeness || a.order - b.order)
  }

  /**
   * Returns the rule of an archive; undefined if none matches. An archive without a trusted
   * identity belongs to no namespace, and only rules that name an identity source match it.
   */
  ruleOf(archive: PlannedArchive): Rule | undefined {
    const { isTrusted } = archive.identity
    const found = this.#rules.find(
      ({ isForDoubtful, tests }) =>
        (isTrusted || isForDoubtful) && tests.every(({ field, test }) => test(factOf(archive, field))),
    )
    return found?.rule
  }
}

function factOf({ identity, engine }: PlannedArchive, field: MatchField): string | undefined {
  if (field === 'workload') return identity.pod === undefined ? undefined : workloadOf(identity.pod)
  if (field === 'identitySource') return identity.source
  return field === 'engine' ? engine : identity[field]
}

interface CompiledRule {
  readonly rule: Rule
  readonly order: number
  readonly closeness: number
  readonly isForDoubtful: boolean
  readonly tests: readonly { readonly field: MatchField; readonly test: (text: string | undefined) => boolean }[]
}

/**
 * Computes the specificity: a rule that names a container is more specific than any that does not,
 * and so on for the other fields.
 */
function closenessOf(match: Match): number {
  return BY_CLOSENESS.reduce(
    (sum, field, at) => sum + (match[field] === undefined ? 0 : 2 ** (BY_CLOSENESS.length - at)),
    0,
  )
}

/** Checks that the match names an identity source and no field that requires a trusted identity. */
function canNameDoubtful(match: Match): boolean {
  return match.identitySource !== undefined && OF_IDENTITY.every((field) => match[field] === undefined)
}

function testsOf(match: Match): CompiledRule['tests'] {
  return BY_CLOSENESS.flatMap((field) => {
    const pattern = match[field]
    return pattern === undefined ? [] : [{ field, test: testFor(pattern) }]
  })
}

/**
 * Compiles a pattern in which `*` stands for any text, including none. All other characters match
 * themselves: `team` does not match `team-a`.
 */
export function testFor(pattern: string): (text: string | undefined) => boolean {
  const parts = pattern.split('*')
  const [head = '', ...rest] = parts
  const tail = rest.pop()
  if (tail === undefined) return (text) => text === pattern
  return (text) => {
    if (text === undefined || text.length < head.length + tail.length) return false
    if (!text.startsWith(head) || !text.endsWith(tail)) return false
    const end = text.length - tail.length
    let at = head.length
    for (const part of rest) {
      const found = text.indexOf(part, at)
      if (found === -1 || found + part.length > end) return false
      at = found + part.length
    }
    return true
  }
}
