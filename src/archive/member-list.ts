import type { Problem } from '../checkpoint/problem.ts'
import type { ByteSource } from './byte-source.ts'
import type { TarMember } from './tar-member.ts'
import { walkArchive } from './walk-archive.ts'

export interface MemberList {
  readonly members: readonly TarMember[]
  /** Members behind the first `limit` ones. */
  readonly remaining: number
  readonly problems: readonly Problem[]
}

export interface MemberListOptions {
  /** How many to leave out at the beginning: a page of a list that was begun before. */
  readonly skip?: number
  readonly limit: number
  readonly signal?: AbortSignal
}

/** The members in the order of the archive, one page of them. Only those whose content is all there. */
export async function listMembers(
  source: ByteSource,
  { skip = 0, limit, signal }: MemberListOptions,
): Promise<MemberList> {
  const members: TarMember[] = []
  const problems: Problem[] = []
  let count = 0
  await walkArchive(
    source,
    {
      onProblem: (problem) => problems.push(problem),
      onPassed: (member) => {
        if (count >= skip && members.length < limit) members.push(member)
        count += 1
      },
    },
    signal,
  )
  return { members, remaining: Math.max(0, count - skip - members.length), problems }
}
