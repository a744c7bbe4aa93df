import { closeSync, constants, fchmodSync, fstatSync, lstatSync, openSync, type BigIntStats } from 'node:fs'
import { descriptorSource } from '../archive/byte-source.ts'
import { judgeIdentity } from '../archive/identity-belief.ts'
import { formatInstant, instantToMillis } from '../archive/instant.ts'
import type { Checkpoint, CheckpointIdentity, CheckpointSummary } from '../checkpoint/checkpoint.ts'
import { checkpointId } from '../checkpoint/checkpoint-id.ts'
import type { Problem } from '../checkpoint/problem.ts'
import { readableText } from '../shared/readable-text.ts'
import { generationOf } from './file-generation.ts'
import { summarizeArchive, type ArchiveSummary } from './archive-summary.ts'

/** What one look at a file of the directory gave. */
export interface ArchiveLook {
  /** `whole`: its end is there and it is as it should be. */
  readonly end: 'whole' | 'incomplete' | 'damaged'
  /** Everything but the digest; its state is that of `end`, to be corrected by who knows more. */
  readonly checkpoint: Checkpoint
  readonly stat: BigIntStats
}

export interface LookOptions {
  readonly directory: string
  readonly now: Date
  /** `enforce`: rights that others have are taken away, where we may. */
  readonly permissions: 'enforce' | 'report'
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
  const path = pathOf(options.directory, rawName)
  let descriptor: number
  try {
    descriptor = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
  } catch (error) {
    const code = codeOf(error)
    if (code === 'ENOENT' || code === 'ELOOP' || code === 'ENXIO') return undefined
    return unreadable(rawName, options, code)
  }
  try {
    const stat = fstatSync(descriptor, { bigint: true })
    if (!stat.isFile()) return undefined
    const problems = checkPermissions(descriptor, stat, options)
    const summary = await summarizeArchive(descriptorSource(descriptor, Number(stat.size)))
    return {
      end: summary.state,
      stat,
      checkpoint: toCheckpoint(rawName, { summary, stat, problems, now: options.now }),
    }
  } finally {
    closeSync(descriptor)
  }
}

function checkPermissions(descriptor: number, stat: BigIntStats, { permissions }: LookOptions): Problem[] {
  const problems: Problem[] = []
  if ((stat.mode & 0o177n) !== 0n) {
    if (permissions === 'report' || !tighten(descriptor)) {
      problems.push(note('PermissionsTooWide', 'others than root may read or change the file'))
    }
  }
  const us = BigInt(process.geteuid?.() ?? 0)
  if (stat.uid !== 0n && stat.uid !== us) problems.push(note('ForeignOwner', `the file belongs to user ${stat.uid}`))
  return problems
}

function tighten(descriptor: number): boolean {
  try {
    fchmodSync(descriptor, 0o600)
    return true
  } catch {
    return false
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

function note(code: string, detail: string): Problem {
  return { code, weight: 'note', detail }
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : ''
}
