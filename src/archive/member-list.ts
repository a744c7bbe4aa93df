import { type Problem, ProblemList } from '../checkpoint/problem.ts'
import type { ByteSource } from '../streams/byte-source.ts'
import { PageBudget } from './page-budget.ts'
import type { TarMember } from './tar-member.ts'
import { walkArchive } from './walk-archive.ts'

export interface MemberList {
  readonly members: readonly TarMember[]
  /** Members after this page. */
  readonly remaining: number
  /** The first few problems of each kind. */
  readonly problems: readonly Problem[]
}

export interface MemberListOptions {
  /** Members to skip at the beginning, for a later page. */
  readonly skip?: number
  readonly limit: number
  /** Largest size of a page as JSON, whatever the limit. */
  readonly maxBytes?: number
  readonly signal?: AbortSignal
}

/**
 * Lists one page of members in the order of the archive. Includes only members with complete
 * content.
 */
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
