import type { BigIntStats } from 'node:fs'
import { agreesWithName } from '../../checkpoint/archive-name.ts'
import type { Checkpoint } from '../../checkpoint/checkpoint.ts'
import type { Problem } from '../../checkpoint/problem.ts'
import { checkArchive } from '../directory/permissions.ts'

/** What a row says of a file beside its bytes: who may use it, and whether it has a second name. */
const OF_RIGHTS = ['NotReadable', 'PermissionsTooWide', 'ForeignOwner']

/**
 * Whether rights, owner and number of names are still what the row says: they change without the generation of the file,
 * and a claim is believed, or an archive open to others, because of them.
 */
export function isAsSeen(row: Checkpoint, stat: BigIntStats): boolean {
  const problems = problemsOfRights(stat)
  const isSame = problems.every(({ code }) => hasProblem(row, code))
  const isComplete = OF_RIGHTS.every((code) => !hasProblem(row, code) || problems.some((now) => now.code === code))
  return isSame && isComplete && isBeliefAsSeen(row, stat)
}

/** For nobody but root and us, and under one name: as nearly all archives are. */
export function isPrivate(stat: BigIntStats): boolean {
  return stat.nlink === 1n && problemsOfRights(stat).length === 0
}

/** Of the same file in the same state: whether a new look has shown nothing new. */
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

/** To report touches no file, so it needs none. */
function problemsOfRights(stat: BigIntStats): readonly Problem[] {
  return checkArchive(-1, stat, 'report').problems
}

function isBeliefAsSeen({ identity, fileName }: Checkpoint, { nlink }: BigIntStats): boolean {
  if (identity.source !== 'archive') return true
  return identity.isTrusted === (nlink === 1n && agreesWithName(identity, fileName))
}
