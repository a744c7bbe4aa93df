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

/** A file of the directory as the agent sees it without reading a byte of it. */
export interface ExaminedFile {
  readonly rawName: Uint8Array
  readonly stat: BigIntStats
  /** Of its permissions and its owner. */
  readonly problems: readonly Problem[]
  /** What others were allowed until now. */
  readonly repair?: ArchivePermissions['repair']
  /** The time of that change, which is no sign of its writer. */
  readonly repairedNs?: bigint
  /** Why the agent may not open it: the code of the system call. */
  readonly refusal?: string
}

export interface ExamineOptions {
  readonly directory: string
  readonly permissions: PermissionsPolicy
}

/** The path of a name that need not be UTF-8. */
export function pathOf(directory: string, rawName: Uint8Array): Buffer {
  return Buffer.concat([Buffer.from(`${directory}/`), rawName])
}

/** Only these are archives: not the markers, not what is hidden. */
export function isArchiveName(rawName: Uint8Array): boolean {
  return (
    rawName[0] !== DOT && Buffer.from(rawName.buffer, rawName.byteOffset, rawName.length).subarray(-4).equals(SUFFIX)
  )
}

const DOT = '.'.charCodeAt(0)
const SUFFIX = Buffer.from('.tar')

/**
 * Takes from others what they are not to do with a regular file that was just seen there. Undefined when it is gone, or
 * no regular file any more: then it is no archive.
 */
export function examineArchive(
  rawName: Uint8Array,
  seen: BigIntStats,
  { directory, permissions }: ExamineOptions,
): ExaminedFile | undefined {
  const path = pathOf(directory, rawName)
  // As nearly all are: there is nothing to repair, and whether it opens is the reader's to find out.
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

/** For the reader, which opens it anew. It may go on growing: then as much is read as is there now. */
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
  /** Why it may not be opened. */
  | { readonly code: string }

/** Undefined where there is no archive. */
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
