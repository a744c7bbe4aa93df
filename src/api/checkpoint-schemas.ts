import { z } from 'zod'
import { bytes, containerIdentity, count, name, nextPage, page, time, wholeNumber } from './common-schemas.ts'

const identitySource = z.enum(['observed', 'archive', 'name', 'unknown'])

export const checkpointIdentity = containerIdentity.partial().extend({
  source: identitySource.describe(
    'Where the identity comes from: observed at capture, read from the archive, or taken from the file name',
  ),
})

export const checkpointState = z
  .enum(['discovered', 'hashing', 'ready', 'incomplete', 'damaged'])
  .describe(
    '"discovered": found, perhaps still being written. "hashing": whole, digest in progress. "ready": whole, digest ' +
      'known. "incomplete": the end is missing. "damaged": do not trust it; `problems` says why',
  )

export const checkpointProblem = z.object({
  code: z.string().describe('Stable: match on this one'),
  weight: z
    .enum(['damage', 'cut', 'note'])
    .describe('"damage": do not trust the archive. "cut": the end is missing. "note": usable, but worth knowing'),
  detail: z.string(),
})

export const dumpStatistics = z
  .object({
    freezingMicros: count,
    frozenMicros: count.describe('How long CRIU kept the container frozen; the runtime freezes it for longer'),
    memdumpMicros: count,
    memwriteMicros: count,
    pagesScanned: count,
    pagesSkippedParent: count,
    pagesWritten: count,
    pagesLazy: count,
    sharedPagesScanned: count,
    sharedPagesSkippedParent: count,
    sharedPagesWritten: count,
  })
  .partial()

export const checkpointResponse = z.object({
  id: z.string(),
  node: z.string(),
  fileName: z.string(),
  state: checkpointState,
  problems: z.array(checkpointProblem),
  identity: checkpointIdentity,
  kind: z.string().optional().describe('"container", "pod", "criu-images", "oci-image" or "unknown"'),
  compression: z.string().optional().describe('"none", "gzip", "zstd", "xz" or "bzip2"'),
  engine: z.string().optional().describe('"containerd", "cri-o", "podman" or "unknown"'),
  image: z
    .object({ name: z.string(), digest: z.string(), id: z.string() })
    .partial()
    .optional()
    .describe('The container image'),
  runtime: z.string().optional(),
  criuVersion: z.string().optional(),
  createdAt: time.optional().describe('When the container was created'),
  startedAt: time.optional().describe('When the container started'),
  takenAt: time.describe("The time the runtime reported, but never later than the file's modification time"),
  discoveredAt: time.optional().describe('When the agent first saw the file'),
  sizeBytes: bytes.describe('The size of the archive'),
  memoryBytes: bytes.optional(),
  rootfsDiffBytes: bytes.optional(),
  processCount: count.optional(),
  sha256: z.string().optional().describe('The digest of the archive file, once it is known'),
  dumpMillis: count
    .optional()
    .describe('How long the dump took, for captures by this agent. The container may be frozen for all of it'),
  dumpStatistics: dumpStatistics.optional().describe("CRIU's own statistics"),
  reason: z.string().optional().describe('The reason given for the capture, if this agent took it'),
  pin: z.object({ by: z.enum(['manual', 'operator', 'us']), reason: z.string().optional() }).optional(),
})

export const checkpointList = z.object({
  items: z.array(checkpointResponse),
  continue: nextPage,
  remaining: count.describe('The number of items after this page'),
})

const reason = z.string().max(1024).optional()

export const pinRequest = z.strictObject({
  reason: reason.describe('Stored in the marker next to the archive. Without it, an existing reason stays'),
})

export const actionRequest = z.strictObject({ reason: reason.describe('The reason, for the custody log') })

export const reasonQuery = z.strictObject({
  reason: reason.describe('The same, for clients that send no body; the reason in the body takes precedence'),
})

const comparison = z.enum(['same', 'different']).optional()

export const verificationResponse = z.object({
  id: z.string(),
  intact: z.boolean().describe('Whether the archive is whole, undamaged, and matches every record of it'),
  sha256: z.string().describe('The digest of the bytes as they are now'),
  sizeBytes: bytes,
  index: comparison.describe('Comparison with the digest in the index; absent if the index has none'),
  custody: comparison.describe('Comparison with the digest in the custody log; absent if the log has none'),
  problems: z.array(checkpointProblem),
})

const moment = z.iso.datetime({ offset: true, error: 'must be a time such as "2026-01-31T12:00:00Z"' })

export const checkpointSort = z.enum([
  'takenAt',
  '-takenAt',
  'discoveredAt',
  '-discoveredAt',
  'sizeBytes',
  '-sizeBytes',
  'fileName',
  '-fileName',
])

export const checkpointListQuery = z.strictObject({
  namespace: name.optional(),
  pod: name.optional(),
  container: name.optional(),
  podUid: name.optional(),
  engine: z.enum(['containerd', 'cri-o', 'podman', 'unknown']).optional(),
  state: checkpointState.optional(),
  identitySource: identitySource.optional(),
  pinned: z.enum(['true', 'false']).optional(),
  reason: z.string().min(1).max(1024).optional().describe('The exact reason for the capture or the pin'),
  takenAfter: moment.optional().describe('Later than this, to the millisecond'),
  takenBefore: moment.optional().describe('Earlier than this, to the millisecond'),
  minBytes: wholeNumber().optional().describe('Archives of at least this size'),
  sort: checkpointSort.default('-takenAt').describe('A leading "-" sorts in descending order'),
  ...page,
})

export const namespaceQuery = z.strictObject({
  namespace: name.optional().describe('Only this namespace; works for callers who may see no other'),
})

export type CheckpointResponse = z.infer<typeof checkpointResponse>
export type CheckpointList = z.infer<typeof checkpointList>
export type DumpStatisticsResponse = z.infer<typeof dumpStatistics>
export type VerificationResponse = z.infer<typeof verificationResponse>
