import { closeSync, fstatSync, lstatSync, type BigIntStats } from 'node:fs'
import { openNoFollowSync } from '../../shared/open-no-follow.ts'
import type { Problem } from '../../checkpoint/problem.ts'
import { isPrivate } from './archive-row.ts'
import { generationOf } from '../../checkpoint/generation.ts'
import type { ArchiveFile } from '../inspection/archive-reader.ts'
import {
  checkArchive,
  takeOwnership,
  type ArchivePermissions,
  type PermissionsPolicy,
} from '../directory/permissions.ts'

/** A file of the directory with the facts that need no read of its content. */
export interface ExaminedFile {
  readonly rawName: Uint8Array
  readonly stat: BigIntStats
  /** Findings about its permissions and its owner. */
  readonly problems: readonly Problem[]
  /** Permissions before the agent repaired them. */
  readonly repair?: ArchivePermissions['repair']
  /** Time of the repair, which does not come from the writer. */
  readonly repairedNs?: bigint
  /** Error code of the system call if the agent may not open the file. */
  readonly refusal?: string
}

export interface ExamineOptions {
  readonly directory: string
  readonly permissions: PermissionsPolicy
}

/** Returns the path of a name that need not be UTF-8. */
export function pathOf(directory: string, rawName: Uint8Array): Buffer {
  return Buffer.concat([Buffer.from(`${directory}/`), rawName])
}

/** Returns whether the name is that of an archive, and not of a marker or a hidden file. */
export function isArchiveName(rawName: Uint8Array): boolean {
  return (
    rawName[0] !== DOT && Buffer.from(rawName.buffer, rawName.byteOffset, rawName.length).subarray(-4).equals(SUFFIX)
  )
}

const DOT = '.'.charCodeAt(0)
const SUFFIX = Buffer.from('.tar')

/**
 * Examines a regular file that was just seen and tightens its permissions. Returns undefined if the file is gone or no
 * longer a regular file.
 */
export function examineArchive(
  rawName: Uint8Array,
  seen: BigIntStats,
  { directory, permissions }: ExamineOptions,
): ExaminedFile | undefined {
  const path = pathOf(directory, rawName)
  // Nearly all files are private and need no repair. The reader finds out whether they can be opened.
  if (isPrivate(seen)) return { rawName, stat: seen, problems: [] }
  const opened = openArchive(path, permissions)
  if (opened === undefined) return undefined
  if ('code' in opened) return refused(rawName, path, opened.code)
  const { descriptor } = opened
  try {
    const before = fstatSync(descriptor, { bigint: true })
    if (!before.isFile()) return undefined
    const { problems, repair: tightened } = checkArchive(descriptor, before, permissions)
    const repair = opened.repair ?? tightened
    const stat = repair === undefined ? before : fstatSync(descriptor, { bigint: true })
    return { rawName, stat, problems, ...(repair !== undefined && { repair, repairedNs: stat.ctimeNs }) }
  } finally {
    closeSync(descriptor)
  }
}

/** Describes the file for the reader, which opens it again. If the file grows, only its current size is read. */
export function toArchiveFile({ rawName, stat }: Pick<ExaminedFile, 'rawName' | 'stat'>): ArchiveFile {
  return {
    path: Buffer.from(rawName),
    generation: generationOf(stat),
    sizeBytes: Number(stat.size),
    mayGrow: true,
  }
}

type Opened =
  | { readonly descriptor: number; readonly repair?: NonNullable<ArchivePermissions['repair']> }
  /** Error code if the file may not be opened. */
  | { readonly code: string }

/** Opens the archive. Returns undefined if there is none. */
function openArchive(path: Buffer, permissions: PermissionsPolicy): Opened | undefined {
  const open = () => openNoFollowSync(path)
  try {
    return { descriptor: open() }
  } catch (error) {
    const code = codeOf(error)
    if (code === 'ENOENT' || code === 'ELOOP' || code === 'ENXIO') return undefined
    if (code !== 'EACCES' || permissions === 'report') return { code }
  }
  const repair = takeOwnership(path)
  try {
    return { descriptor: open(), ...(repair !== undefined && { repair }) }
  } catch (error) {
    return { code: codeOf(error) }
  }
}

function refused(rawName: Uint8Array, path: Buffer, code: string): ExaminedFile | undefined {
  const stat = lstatSync(path, { bigint: true, throwIfNoEntry: false })
  return stat?.isFile() === true ? { rawName, stat, problems: [], refusal: code } : undefined
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : ''
}
