import { type Problem, ProblemList } from '../checkpoint/problem.ts'
import type { ByteSource } from '../streams/byte-source.ts'
import { PageBudget } from './page-budget.ts'
import type { TarMember } from './tar-member.ts'
import { walkArchive } from './walk-archive.ts'

export interface MemberList {
  readonly members: readonly TarMember[]
  /** Members behind these. */
  readonly remaining: number
  /** Of each kind the first few. */
  readonly problems: readonly Problem[]
}

export interface MemberListOptions {
  /** How many to leave out at the beginning: a page of a list that was begun before. */
  readonly skip?: number
  readonly limit: number
  /** A page ends before it takes more than this as JSON, whatever the limit says. */
  readonly maxBytes?: number
  readonly signal?: AbortSignal
}

/** The members in the order of the archive, one page of them. Only those whose content is all there. */
export async function listMembers(
  source: ByteSource,
  { skip = 0, limit, maxBytes = Infinity, signal }: MemberListOptions,
): Promise<MemberList> {
  const members: TarMember[] = []
  const problems = new ProblemList()
  const budget = new PageBudget(maxBytes)
  let count = 0
  await walkArchive(
    source,
    {
      onProblem: (problem) => problems.add(problem),
      onPassed: (member) => {
        const isOnPage = count >= skip && members.length < limit
        if (isOnPage && budget.take(member.name, member.linkName)) members.push(member)
        count += 1
      },
    },
    signal,
  )
  return { members, remaining: Math.max(0, count - skip - members.length), problems: problems.list() }
}
