import type { BigIntStats } from 'node:fs'
import { agreesWithName } from '../../checkpoint/archive-name.ts'
import type { Checkpoint } from '../../checkpoint/checkpoint.ts'
import type { Problem } from '../../checkpoint/problem.ts'
import { checkArchive } from '../directory/permissions.ts'

/** Codes of findings that depend on permissions and owner instead of the content. */
const OF_RIGHTS = ['NotReadable', 'PermissionsTooWide', 'ForeignOwner']

/**
 * Returns whether permissions, owner and link count match the row. They change without a new generation, and both the
 * trust in a claim and the findings depend on them.
 */
export function isAsSeen(row: Checkpoint, stat: BigIntStats): boolean {
  const problems = problemsOfRights(stat)
  const isSame = problems.every(({ code }) => hasProblem(row, code))
  const isComplete = OF_RIGHTS.every((code) => !hasProblem(row, code) || problems.some((now) => now.code === code))
  return isSame && isComplete && isBeliefAsSeen(row, stat)
}

/** Returns whether only root and the agent can use the file and it has one name. This holds for nearly all archives. */
export function isPrivate(stat: BigIntStats): boolean {
  return stat.nlink === 1n && problemsOfRights(stat).length === 0
}

/** Returns whether a refresh of the same generation has shown nothing new. */
export function tellsTheSame(before: Checkpoint, now: Checkpoint): boolean {
  return (
    before.state === now.state &&
    before.identity.isTrusted === now.identity.isTrusted &&
    before.summary.givenUpBy === now.summary.givenUpBy &&
    OF_RIGHTS.every((code) => hasProblem(before, code) === hasProblem(now, code))
  )
}

export function hasProblem({ problems }: Checkpoint, code: string): boolean {
  return problems.some((problem) => problem.code === code)
}

export function withPin(checkpoint: Checkpoint, pin: Checkpoint['pin']): Checkpoint {
  const { pin: _, ...unpinned } = checkpoint
  return pin === undefined ? unpinned : { ...unpinned, pin }
}

/** A check with `report` does not touch the file, so it needs no descriptor. */
function problemsOfRights(stat: BigIntStats): readonly Problem[] {
  return checkArchive(-1, stat, 'report').problems
}

function isBeliefAsSeen({ identity, fileName }: Checkpoint, { nlink }: BigIntStats): boolean {
  if (identity.source !== 'archive') return true
  return identity.isTrusted === (nlink === 1n && agreesWithName(identity, fileName))
}
