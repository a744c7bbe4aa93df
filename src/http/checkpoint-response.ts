import { createHash } from 'node:crypto'
import type { TarMember } from '../archive/tar-member.ts'
import type { Checkpoint, CheckpointIdentity, CheckpointSummary } from '../checkpoint/checkpoint.ts'
import type { Problem } from '../checkpoint/problem.ts'
import type { CheckpointResponse, DumpStatisticsResponse } from '../api/checkpoint-schemas.ts'
import type { MemberList, MemberResponse } from '../api/content-schemas.ts'

/** Converts a checkpoint for the API. Every field is listed explicitly, so that paths on the node never leak. */
export function toCheckpointResponse(checkpoint: Checkpoint, node: string): CheckpointResponse {
  const { takenAt, discoveredAt, pin, summary } = checkpoint
  const { image } = summary
  return {
    id: checkpoint.id,
    node,
    fileName: checkpoint.fileName,
    state: checkpoint.state,
    problems: toProblems(checkpoint.problems),
    identity: toCheckpointIdentity(checkpoint.identity),
    kind: summary.kind,
    compression: summary.compression,
    engine: checkpoint.engine,
    image: image && { name: image.name, digest: image.digest, id: image.id },
    runtime: summary.runtime,
    criuVersion: summary.criuVersion,
    createdAt: summary.createdAt,
    startedAt: summary.startedAt,
    takenAt: takenAt.text,
    discoveredAt: discoveredAt.toISOString(),
    sizeBytes: checkpoint.sizeBytes,
    memoryBytes: summary.memoryBytes,
    rootfsDiffBytes: summary.rootfsDiffBytes,
    processCount: summary.processCount,
    sha256: checkpoint.sha256,
    dumpMillis: summary.dumpMillis,
    dumpStatistics: summary.dumpStatistics && toDumpStatistics(summary.dumpStatistics),
    reason: checkpoint.reason,
    pin: pin && { by: pin.by, reason: pin.reason },
  }
}

export function toMemberResponse(member: TarMember): MemberResponse {
  return {
    name: member.name,
    type: member.type,
    sizeBytes: member.sizeBytes,
    offset: member.offset,
    modifiedAt: formatModified(member),
    linkName: member.linkName,
  }
}

export function toProblems(problems: readonly Problem[]): MemberList['problems'] {
  return problems.map(({ code, weight, detail }) => ({ code, weight, detail }))
}

/** Returns a tag that changes when another file takes the same name. */
export function generationTag({ generation }: Pick<Checkpoint, 'generation'>): string {
  return digest(generation)
}

/**
 * Combines the generation with a digest of the response. The response can change within one generation: the archive's
 * digest becomes known, and pins are added and removed.
 */
export function entityTag(checkpoint: Checkpoint, body: CheckpointResponse): string {
  return `"${generationTag(checkpoint)}.${digest(JSON.stringify(body))}"`
}

function toCheckpointIdentity(identity: CheckpointIdentity): CheckpointResponse['identity'] {
  const { namespace, pod, podUid, container, containerId, source } = identity
  return { namespace, pod, podUid, container, containerId, source }
}

function toDumpStatistics(statistics: NonNullable<CheckpointSummary['dumpStatistics']>): DumpStatisticsResponse {
  return {
    freezingMicros: statistics['freezingMicros'],
    frozenMicros: statistics['frozenMicros'],
    memdumpMicros: statistics['memdumpMicros'],
    memwriteMicros: statistics['memwriteMicros'],
    pagesScanned: statistics['pagesScanned'],
    pagesSkippedParent: statistics['pagesSkippedParent'],
    pagesWritten: statistics['pagesWritten'],
    pagesLazy: statistics['pagesLazy'],
    sharedPagesScanned: statistics['sharedPagesScanned'],
    sharedPagesSkippedParent: statistics['sharedPagesSkippedParent'],
    sharedPagesWritten: statistics['sharedPagesWritten'],
  }
}

/**
 * Formats a modification time. Returns undefined for the Unix epoch, which stands for an unset time, and for years that
 * ISO 8601 cannot express in four digits.
 */
function formatModified({ modifiedSeconds, modifiedNanos }: TarMember): string | undefined {
  if (modifiedSeconds === 0 && modifiedNanos === 0) return undefined
  if (modifiedSeconds < YEAR_0 || modifiedSeconds >= YEAR_10000) return undefined
  const seconds = new Date(modifiedSeconds * 1000).toISOString().slice(0, 19)
  const fraction = String(modifiedNanos).padStart(9, '0').replace(/0+$/, '')
  return fraction === '' ? `${seconds}Z` : `${seconds}.${fraction}Z`
}

const YEAR_0 = -62_167_219_200
const YEAR_10000 = 253_402_300_800

function digest(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 16)
}
