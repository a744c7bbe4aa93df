import type { ArchiveKind } from '../../archive/archive-kind.ts'
import type { Compression } from '../../archive/compression.ts'
import { ENGINES } from '../../checkpoint/engine.ts'
import type { IdentityClaim } from '../../archive/identity-claim.ts'
import type { ImageClaim } from '../../archive/image-claim.ts'
import type { DumpStatistics } from '../../criu/dump-statistics.ts'
import {
  AnswerError,
  maybe,
  toCount,
  toFields,
  toFlag,
  toInstant,
  toOneOf,
  toProblems,
  toText,
} from './answer-fields.ts'
import type { ArchiveSummary } from './archive-summary.ts'

/** Parses a summary from the reader and keeps only known fields. Throws AnswerError. */
export function parseSummary(value: unknown): ArchiveSummary {
  const sent = toFields(value, 'summary')
  const runtime = maybe(sent['runtime'], 'runtime', toText)
  const createdAt = maybe(sent['createdAt'], 'createdAt', toInstant)
  const startedAt = maybe(sent['startedAt'], 'startedAt', toInstant)
  const takenAt = maybe(sent['takenAt'], 'takenAt', toInstant)
  const takenAtSource = maybe(sent['takenAtSource'], 'takenAtSource', toTakenAtSource)
  const rootfsDiffBytes = maybe(sent['rootfsDiffBytes'], 'rootfsDiffBytes', toCount)
  const criuVersion = maybe(sent['criuVersion'], 'criuVersion', toText)
  const processCount = maybe(sent['processCount'], 'processCount', toCount)
  const dumpStatistics = maybe(sent['dumpStatistics'], 'dumpStatistics', toStatistics)
  const endOffset = maybe(sent['endOffset'], 'endOffset', toCount)
  return {
    kind: toOneOf(sent['kind'], 'kind', KINDS),
    compression: toCompression(sent['compression']),
    engine: toOneOf(sent['engine'], 'engine', ENGINES),
    claim: toClaim(sent['claim']),
    image: toImage(sent['image']),
    ...(runtime !== undefined && { runtime }),
    ...(createdAt !== undefined && { createdAt }),
    ...(startedAt !== undefined && { startedAt }),
    ...(takenAt !== undefined && { takenAt }),
    ...(takenAtSource !== undefined && { takenAtSource }),
    checkpointBytes: toCount(sent['checkpointBytes'], 'checkpointBytes'),
    memoryBytes: toCount(sent['memoryBytes'], 'memoryBytes'),
    deviceMemoryBytes: toCount(sent['deviceMemoryBytes'], 'deviceMemoryBytes'),
    ...(rootfsDiffBytes !== undefined && { rootfsDiffBytes }),
    state: toOneOf(sent['state'], 'state', STATES),
    problems: toProblems(sent['problems']),
    ...(criuVersion !== undefined && { criuVersion }),
    ...(processCount !== undefined && { processCount }),
    ...(dumpStatistics !== undefined && { dumpStatistics }),
    memberCount: toCount(sent['memberCount'], 'memberCount'),
    ...(endOffset !== undefined && { endOffset }),
  }
}

export function toCompression(value: unknown): Compression {
  return toOneOf(value, 'compression', COMPRESSIONS)
}

const KINDS: readonly ArchiveKind[] = ['container', 'pod', 'criu-images', 'oci-image', 'unknown']
const COMPRESSIONS: readonly Compression[] = ['none', 'gzip', 'zstd', 'xz', 'bzip2']
const STATES: readonly ArchiveSummary['state'][] = ['whole', 'incomplete', 'damaged']

function toTakenAtSource(value: unknown, field: string): 'engine' | 'member' {
  return toOneOf(value, field, ['engine', 'member'])
}

function toClaim(value: unknown): IdentityClaim {
  const sent = toFields(value, 'claim')
  const attempt = maybe(sent['attempt'], 'attempt', toCount)
  return {
    ...pickTexts(sent, ['namespace', 'pod', 'podUid', 'container', 'containerId', 'sandboxId']),
    ...(attempt !== undefined && { attempt }),
    isContradictory: toFlag(sent['isContradictory'], 'isContradictory'),
  }
}

function toImage(value: unknown): ImageClaim {
  return pickTexts(toFields(value, 'image'), ['name', 'digest', 'id'])
}

function pickTexts<Name extends string>(
  sent: Readonly<Record<string, unknown>>,
  names: readonly Name[],
): { [Each in Name]?: string } {
  const texts: { [Each in Name]?: string } = {}
  for (const name of names) if (sent[name] !== undefined) texts[name] = toText(sent[name], name)
  return texts
}

const STATISTICS: ReadonlySet<string> = new Set<keyof DumpStatistics>([
  'freezingMicros',
  'frozenMicros',
  'memdumpMicros',
  'memwriteMicros',
  'pagesScanned',
  'pagesSkippedParent',
  'pagesWritten',
  'pagesLazy',
  'sharedPagesScanned',
  'sharedPagesSkippedParent',
  'sharedPagesWritten',
])

function toStatistics(value: unknown): DumpStatistics {
  const statistics: Record<string, number> = {}
  for (const [name, count] of Object.entries(toFields(value, 'dumpStatistics'))) {
    if (!STATISTICS.has(name)) throw new AnswerError('dumpStatistics')
    statistics[name] = toCount(count, name)
  }
  return statistics
}
