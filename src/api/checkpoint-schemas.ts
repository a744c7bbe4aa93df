import { z } from 'zod'
import { bytes, containerIdentity, count, name, nextPage, page, time, wholeNumber } from './common-schemas.ts'

const identitySource = z.enum(['observed', 'archive', 'name', 'unknown'])

export const checkpointIdentity = containerIdentity.partial().extend({
  source: identitySource.describe(
    'How the identity is known: seen at capture, read in the archive, from the file name',
  ),
})

export const checkpointState = z
  .enum(['discovered', 'hashing', 'ready', 'incomplete', 'damaged'])
  .describe(
    '"discovered": seen, perhaps still being written. "hashing": whole, its digest is being made. "ready": whole, with ' +
      'its digest. "incomplete": its end is missing. "damaged": not to be trusted, the problems say why',
  )

export const checkpointProblem = z.object({
  code: z.string().describe('Stable: match on this one'),
  weight: z
    .enum(['damage', 'cut', 'note'])
    .describe('"damage": do not trust the archive. "cut": its end is missing. "note": usable, but worth knowing'),
  detail: z.string(),
})

export const dumpStatistics = z
  .object({
    freezingMicros: count,
    frozenMicros: count.describe(
      'How long the container stood still for CRIU alone; the runtime keeps it still for longer',
    ),
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
  createdAt: time.optional().describe('Of the container'),
  startedAt: time.optional().describe('Of the container'),
  takenAt: time.describe("The runtime's word, held down to the age of the file"),
  discoveredAt: time.optional().describe('When the agent first saw the file'),
  sizeBytes: bytes.describe('Of the archive'),
  memoryBytes: bytes.optional(),
  rootfsDiffBytes: bytes.optional(),
  processCount: count.optional(),
  sha256: z.string().optional().describe('Of the archive as it stands, once it is known'),
  dumpMillis: count
    .optional()
    .describe('How long the dump took, of captures of this agent: the container may stand still for all of it'),
  dumpStatistics: dumpStatistics.optional().describe("CRIU's own figures"),
  reason: z.string().optional().describe('Why it was taken, where this agent took it'),
  pin: z.object({ by: z.enum(['manual', 'operator', 'us']), reason: z.string().optional() }).optional(),
})

export const checkpointList = z.object({
  items: z.array(checkpointResponse),
  continue: nextPage,
  remaining: count.describe('How many follow after this page'),
})

const reason = z.string().max(1024).optional()

export const pinRequest = z.strictObject({
  reason: reason.describe('Kept in the marker beside the archive. Without it the one that is there stays'),
})

export const actionRequest = z.strictObject({ reason: reason.describe('Why, for the custody log') })

export const reasonQuery = z.strictObject({
  reason: reason.describe('The same, for clients that send no body; the one of the body counts'),
})

const comparison = z.enum(['same', 'different']).optional()

export const verificationResponse = z.object({
  id: z.string(),
  intact: z.boolean().describe('Whole, free of damage, and as recorded everywhere'),
  sha256: z.string().describe('Of the bytes as they are now'),
  sizeBytes: bytes,
  index: comparison.describe('Against the digest in the index; absent where there was none yet'),
  custody: comparison.describe('Against the digest in the custody log; absent where there is none'),
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
  reason: z.string().min(1).max(1024).optional().describe('Why it was taken or is pinned, word for word'),
  takenAfter: moment.optional().describe('Later than this, to the millisecond'),
  takenBefore: moment.optional().describe('Earlier than this, to the millisecond'),
  minBytes: wholeNumber().optional().describe('Archives of this size and above'),
  sort: checkpointSort.default('-takenAt').describe('With "-" for descending'),
  ...page,
})

export const namespaceQuery = z.strictObject({
  namespace: name.optional().describe('Only this one, also for who may see no other'),
})

export type CheckpointResponse = z.infer<typeof checkpointResponse>
export type CheckpointList = z.infer<typeof checkpointList>
export type DumpStatisticsResponse = z.infer<typeof dumpStatistics>
export type VerificationResponse = z.infer<typeof verificationResponse>
