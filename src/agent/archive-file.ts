import { closeSync, constants, fstatSync, lstatSync, openSync, type BigIntStats } from 'node:fs'
import { descriptorSource } from '../archive/byte-source.ts'
import { judgeIdentity } from '../archive/identity-belief.ts'
import { formatInstant, instantToMillis } from '../archive/instant.ts'
import type { Checkpoint, CheckpointIdentity, CheckpointSummary } from '../checkpoint/checkpoint.ts'
import { checkpointId } from '../checkpoint/checkpoint-id.ts'
import type { Problem } from '../checkpoint/problem.ts'
import { readableText } from '../shared/readable-text.ts'
import { generationOf } from './file-generation.ts'
import { summarizeArchive, type ArchiveSummary } from './inspection/archive-summary.ts'
import { checkArchive, takeOwnership, type ArchivePermissions, type PermissionsPolicy } from './permissions.ts'

/** What one look at a file of the directory gave. */
export interface ArchiveLook {
  /** `whole`: its end is there and it is as it should be. */
  readonly end: 'whole' | 'incomplete' | 'damaged'
  /** Everything but the digest; its state is that of `end`, to be corrected by who knows more. */
  readonly checkpoint: Checkpoint
  readonly stat: BigIntStats
  /** What others were allowed until now. */
  readonly repair?: ArchivePermissions['repair']
  /** The time of that change, which is no sign of its writer. */
  readonly repairedNs?: bigint
}

export interface LookOptions {
  readonly directory: string
  readonly now: Date
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

/** Reads the file once. Undefined when it is gone, or no regular file: then it is no archive. */
export async function lookAtArchive(rawName: Uint8Array, options: LookOptions): Promise<ArchiveLook | undefined> {
  const opened = openArchive(pathOf(options.directory, rawName), options.permissions)
  if (opened === undefined) return undefined
  if ('code' in opened) return unreadable(rawName, options, opened.code)
  const { descriptor } = opened
  try {
    const before = fstatSync(descriptor, { bigint: true })
    if (!before.isFile()) return undefined
    const { problems, repair: tightened } = checkArchive(descriptor, before, options.permissions)
    const repair = opened.repair ?? tightened
    const stat = repair === undefined ? before : fstatSync(descriptor, { bigint: true })
    const summary = await summarizeArchive(descriptorSource(descriptor, Number(stat.size)))
    return {
      end: summary.state,
      stat,
      checkpoint: toCheckpoint(rawName, { summary, stat, problems, now: options.now }),
      ...(repair !== undefined && { repair, repairedNs: stat.ctimeNs }),
    }
  } finally {
    closeSync(descriptor)
  }
}

type Opened =
  | { readonly descriptor: number; readonly repair?: NonNullable<ArchivePermissions['repair']> }
  /** Why it may not be opened. */
  | { readonly code: string }

/** Undefined where there is no archive. */
function openArchive(path: Buffer, permissions: PermissionsPolicy): Opened | undefined {
  const open = () => openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
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

interface Facts {
  readonly summary: ArchiveSummary
  readonly stat: BigIntStats
  readonly problems: readonly Problem[]
  readonly now: Date
}

function toCheckpoint(rawName: Uint8Array, { summary, stat, problems, now }: Facts): Checkpoint {
  const fileName = readableText(rawName)
  const known = judgeIdentity({ claim: summary.claim, fileName, linkCount: Number(stat.nlink) })
  return {
    id: checkpointId(rawName),
    rawName,
    fileName,
    generation: generationOf(stat),
    state: summary.state === 'whole' ? 'discovered' : summary.state,
    problems: [...summary.problems, ...problems],
    identity: known satisfies CheckpointIdentity,
    engine: summary.engine,
    sizeBytes: Number(stat.size),
    takenAt: heldDown(summary.takenAt, stat),
    discoveredAt: now,
    summary: toSummary(summary),
  }
}

/** The runtime's word for when it was taken; a time after the file's last change cannot be true. */
function heldDown(takenAt: bigint | undefined, { mtimeNs }: BigIntStats): Checkpoint['takenAt'] {
  const instant = takenAt === undefined || takenAt > mtimeNs ? mtimeNs : takenAt
  return { text: formatInstant(instant), millis: instantToMillis(instant) }
}

function toSummary(summary: ArchiveSummary): CheckpointSummary {
  const { image, createdAt, startedAt, runtime, criuVersion, rootfsDiffBytes, processCount, dumpStatistics } = summary
  const hasContent = summary.kind !== 'unknown'
  return {
    kind: summary.kind,
    compression: summary.compression,
    ...(Object.keys(image).length > 0 && { image }),
    ...(runtime !== undefined && { runtime }),
    ...(criuVersion !== undefined && { criuVersion }),
    ...(createdAt !== undefined && { createdAt: formatInstant(createdAt) }),
    ...(startedAt !== undefined && { startedAt: formatInstant(startedAt) }),
    ...(hasContent && { memoryBytes: summary.memoryBytes, memberCount: summary.memberCount }),
    ...(rootfsDiffBytes !== undefined && { rootfsDiffBytes }),
    ...(processCount !== undefined && { processCount }),
    ...(dumpStatistics !== undefined && { dumpStatistics: { ...dumpStatistics } }),
  }
}

/** Listed all the same: one unreadable archive must not be a hole in the inventory. */
function unreadable(rawName: Uint8Array, { directory, now }: LookOptions, code: string): ArchiveLook | undefined {
  const stat = lstatSync(pathOf(directory, rawName), { bigint: true, throwIfNoEntry: false })
  if (stat?.isFile() !== true) return undefined
  const detail = `the agent may not open the file (${code}): it belongs to user ${stat.uid}; give it to root on the node with chown`
  const fileName = readableText(rawName)
  const checkpoint: Checkpoint = {
    id: checkpointId(rawName),
    rawName,
    fileName,
    generation: generationOf(stat),
    state: 'damaged',
    problems: [{ code: 'NotReadable', weight: 'damage', detail }],
    identity: judgeIdentity({ claim: undefined, fileName, linkCount: Number(stat.nlink) }),
    engine: 'unknown',
    sizeBytes: Number(stat.size),
    takenAt: heldDown(undefined, stat),
    discoveredAt: now,
    summary: { kind: 'unknown', compression: 'none' },
  }
  return { end: 'damaged', checkpoint, stat }
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : ''
}
