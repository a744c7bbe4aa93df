import { chmodSync, fchmodSync, fchownSync, lchownSync, lstatSync, type BigIntStats } from 'node:fs'
import type { Problem } from '../../checkpoint/problem.ts'

/**
 * Policy for the permissions of other users than root. `enforce` removes them if possible, `report` only reports them.
 */
export type PermissionsPolicy = 'enforce' | 'report'

/** Permissions that were removed from other users, as recorded. */
export interface PermissionRepair {
  readonly what: 'archive' | 'directory' | 'index'
  readonly path: string
  /** Set for an archive. */
  readonly checkpointId?: string
  /** Mode before the repair. */
  readonly mode: string
  readonly owner: number
}

const OTHERS = 0o077n

/** Permissions that an archive may have: only its owner may read and write it. */
const ARCHIVE_RIGHTS = 0o600n

export interface ArchivePermissions {
  readonly problems: readonly Problem[]
  readonly repair?: Pick<PermissionRepair, 'mode' | 'owner'>
}

/** Checks an open archive. The agent only ever tightens permissions: `0440` becomes `0400`. */
export function checkArchive(descriptor: number, stat: BigIntStats, policy: PermissionsPolicy): ArchivePermissions {
  const isForeign = stat.uid !== 0n && stat.uid !== us()
  const isTooWide = (stat.mode & OTHERS) !== 0n
  if (!isForeign && !isTooWide) return { problems: [] }
  const mayRepair = policy === 'enforce'
  // The owner is changed first. After that only root can use the file, and the agent may set its mode.
  const isOwned = !isForeign || (mayRepair && succeeds(() => fchownSync(descriptor, Number(us()), -1)))
  const isTight =
    !isTooWide || (mayRepair && succeeds(() => fchmodSync(descriptor, Number(stat.mode & ARCHIVE_RIGHTS))))
  const problems = [
    ...(isTight ? [] : [note('PermissionsTooWide', `others than root may use the file: its mode is ${octal(stat)}`)]),
    ...(isOwned ? [] : [note('ForeignOwner', `the file belongs to user ${stat.uid}`)]),
  ]
  const isRepaired = (isForeign && isOwned) || (isTooWide && isTight)
  return isRepaired ? { problems, repair: { mode: octal(stat), owner: Number(stat.uid) } } : { problems }
}

/**
 * Takes ownership of an archive that cannot be opened. Links are not followed, so at worst the link itself changes its
 * owner. Returns undefined if nothing was changed.
 */
export function takeOwnership(path: Uint8Array): ArchivePermissions['repair'] {
  const stat = lstatSync(Buffer.from(path), { bigint: true, throwIfNoEntry: false })
  if (stat?.isFile() !== true || stat.uid === us()) return undefined
  const isOurs = succeeds(() => lchownSync(Buffer.from(path), Number(us()), -1))
  return isOurs ? { mode: octal(stat), owner: Number(stat.uid) } : undefined
}

/** Tightens the permissions of the checkpoint directory. Returns undefined if nothing was changed. */
export function tightenDirectory(directory: string): PermissionRepair | undefined {
  const stat = lstatSync(directory, { bigint: true, throwIfNoEntry: false })
  if (stat?.isDirectory() !== true || (stat.mode & OTHERS) === 0n) return undefined
  if (!succeeds(() => chmodSync(directory, Number(stat.mode & 0o700n)))) return undefined
  return { what: 'directory', path: directory, mode: octal(stat), owner: Number(stat.uid) }
}

function us(): bigint {
  return BigInt(process.geteuid?.() ?? 0)
}

function succeeds(change: () => void): boolean {
  try {
    change()
    return true
  } catch (error) {
    if (error instanceof TypeError || error instanceof RangeError) throw error
    return false
  }
}

function octal({ mode }: BigIntStats): string {
  return (mode & 0o7777n).toString(8).padStart(4, '0')
}

function note(code: string, detail: string): Problem {
  return { code, weight: 'note', detail }
}
