import { z } from 'zod'

/**
 * Requests and answers of the HTTP API. The schemas check what comes in, the OpenAPI document is made of them, and the
 * types are for everyone who speaks to the agent. Fields are only ever added; what is not known is absent.
 */

const time = z.iso.datetime()
const bytes = z.int().nonnegative()
const count = z.int().nonnegative()

/** Longer than any name in Kubernetes, since a byte that cannot be shown is written as four characters or more. */
const name = z.string().min(1).max(1024)

export const containerIdentity = z.object({
  namespace: z.string(),
  pod: z.string(),
  podUid: z.string(),
  container: z.string(),
  containerId: z.string(),
})

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
    frozenMicros: count.describe('How long the container stood still'),
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
  dumpStatistics: dumpStatistics.optional().describe("CRIU's own figures"),
  pin: z.object({ by: z.enum(['manual', 'operator', 'us']), reason: z.string().optional() }).optional(),
})

const nextPage = z
  .string()
  .optional()
  .describe('Give it back as `continue` to get the next page; absent on the last one')

export const checkpointList = z.object({
  items: z.array(checkpointResponse),
  continue: nextPage,
  remaining: count.describe('How many follow after this page'),
})

export const memberResponse = z.object({
  name: z.string().describe('Without `./` in front and slash behind'),
  type: z
    .string()
    .describe(
      '"file", "directory", "hard-link", "symbolic-link", "character-device", "block-device", "fifo" or "unknown"',
    ),
  sizeBytes: bytes,
  offset: bytes.describe('Where its content begins in the archive, unpacked if that is compressed'),
  modifiedAt: time.optional(),
  linkName: z.string().optional().describe('Where a link leads'),
})

export const memberList = z.object({
  items: z.array(memberResponse).describe('In the order of the archive, those whose content is all there'),
  continue: nextPage,
  remaining: count.describe('How many follow after this page'),
  problems: z.array(checkpointProblem).describe('What the reading of the whole archive found'),
})

export const rootfsChange = z.object({
  path: z.string().describe('In the container'),
  change: z
    .enum(['added-or-changed', 'changed', 'deleted', 'emptied'])
    .describe('"emptied": all that was in this folder before is gone'),
  type: z.string().optional().describe('Of what is there now, as in the list of members'),
  sizeBytes: bytes.optional(),
  modifiedAt: time.optional(),
  linkName: z.string().optional().describe('Where a link leads'),
})

export const rootfsDiffResponse = z.object({
  items: z.array(rootfsChange).describe('In the order of the archive'),
  present: z.boolean().describe('Whether the archive has a diff at all'),
  atLeast: z.boolean().describe('There may be changes that the archive does not hold'),
  continue: nextPage,
  remaining: count.describe('How many follow after this page'),
  problems: z.array(checkpointProblem).describe('What the reading found'),
})

export const pinRequest = z.strictObject({
  reason: z.string().max(1024).optional().describe('Kept in the marker beside the archive'),
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

export const captureState = z.enum([
  'queued',
  'running',
  'sealing',
  'succeeded',
  'failed',
  'cancelled',
  'unknown-outcome',
])

export const capturePhase = z.object({
  name: z.enum(['admission', 'dump', 'verify', 'sync', 'publish']),
  startedAt: time,
  millis: z.number().nonnegative(),
})

export const captureError = z.object({
  code: z.string(),
  detail: z.string(),
  hint: z.string().optional(),
  runtimeMessage: z.string().optional().describe("The runtime's own text"),
})

export const containerCaptureResponse = z.object({
  identity: containerIdentity,
  state: captureState,
  startedAt: time.optional(),
  finishedAt: time.optional(),
  bytesWritten: bytes,
  phases: z.array(capturePhase),
  checkpoint: z.string().optional().describe('The id of the checkpoint'),
  error: captureError.optional(),
})

export const captureJobResponse = z.object({
  id: z.string(),
  state: captureState,
  identity: containerIdentity
    .partial({ container: true, containerId: true })
    .describe('Without a container: the job takes every running container of the pod'),
  reason: z.string().optional(),
  pin: z.boolean(),
  requestedBy: z.string(),
  queuedAt: time,
  startedAt: time.optional(),
  finishedAt: time.optional(),
  bytesWritten: bytes,
  phases: z.array(capturePhase).optional().describe('Of a job for one container'),
  checkpoints: z.array(z.string()).describe('The ids of the checkpoints'),
  error: captureError.optional().describe('Of the first capture that failed'),
  consistent: z
    .literal(false)
    .optional()
    .describe('Of a job for a whole pod: its containers are taken one after the other, not at one moment'),
  containers: z.array(containerCaptureResponse).optional().describe('Of a job for a whole pod'),
})

export const captureJobList = z.object({
  items: z.array(captureJobResponse),
  continue: nextPage,
  remaining: count.describe('How many follow after this page'),
})

export const captureResult = z.object({
  items: z.array(checkpointResponse),
  job: z.string(),
  consistent: z.literal(false).optional().describe('Of a whole pod, as in the job'),
})

/** What a timer can hold: 24.8 days. */
const MAX_WAIT_SECONDS = 2_147_483

export const captureRequest = z.strictObject({
  namespace: name,
  pod: name,
  container: name.optional().describe('Without it: every running container of the pod, one after the other'),
  podUid: name.optional().describe('The request is refused when the pod of this name is another one'),
  timeoutSeconds: z
    .int()
    .min(0)
    .max(MAX_WAIT_SECONDS)
    .optional()
    .describe('Ends the wait of a caller that waits; the capture goes on'),
  reason: z.string().max(1024).optional().describe('Kept with the job'),
  pin: z.boolean().optional().describe('Keep the checkpoint until it is unpinned'),
})

export const captureQuery = z.strictObject({
  wait: z.enum(['true', 'false']).optional().describe('Answer when the capture has ended, not at once'),
})

/** Other than a coerced one it takes neither an empty text nor hexadecimal nor a fraction for a number. */
function wholeNumber({ min = 0, max = 999_999_999_999_999 }: { readonly min?: number; readonly max?: number } = {}) {
  return z
    .string()
    .transform((text, context) => {
      const value = /^\d{1,15}$/.test(text) ? Number(text) : undefined
      if (value !== undefined && value >= min && value <= max) return value
      const bound = value === undefined ? 'a whole number' : value < min ? `at least ${min}` : `at most ${max}`
      context.addIssue({ code: 'custom', message: `must be ${bound}` })
      return z.NEVER
    })
    .meta({ type: 'integer', minimum: min, maximum: max })
}

/** How many rows of a list are on one page. */
export const pageLimit = wholeNumber({ min: 1, max: 1000 }).default(100)

const page = {
  limit: pageLimit,
  continue: z.string().optional().describe('From the page before'),
}

export const captureListQuery = z.strictObject({ namespace: name.optional(), ...page })

export const memberListQuery = z.strictObject(page)

const incomplete = z.enum(['true', 'false']).optional().describe('Also of an archive that is not whole')

export const contentQuery = z.strictObject({
  recipient: z.array(z.string()).default([]).describe('Encrypt to this age recipient; may be given more than once'),
  incomplete,
})

export const rootfsDiffQuery = z.strictObject({ ...page, incomplete })

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
  takenAfter: moment.optional().describe('Later than this, to the millisecond'),
  takenBefore: moment.optional().describe('Earlier than this, to the millisecond'),
  minBytes: wholeNumber().optional().describe('Archives of this size and above'),
  sort: checkpointSort.default('-takenAt').describe('With "-" for descending'),
  ...page,
})

export const noQuery = z.strictObject({})

export const namespaceQuery = z.strictObject({
  namespace: name.optional().describe('Only this one, also for who may see no other'),
})

export const accessQuery = z.strictObject({
  namespace: name.optional().describe('Without one: what may be done in all of them'),
})

export const accessResponse = z.object({
  user: z.string(),
  groups: z.array(z.string()),
  node: z.string(),
  namespace: z.string().optional(),
  permissions: z.array(
    z.object({
      verb: z.string(),
      group: z.string().describe('Empty: the core group of Kubernetes'),
      resource: z.string().describe('As a Role names it: `checkpoints/proxy`'),
      namespace: z.string().optional(),
      name: z.string().optional(),
      allowed: z.boolean(),
    }),
  ),
})

export const readinessQuery = z.strictObject({
  verbose: z.enum(['', 'true', 'false']).optional().describe('List the checks one by one'),
})

export const runningContainerResponse = z.object({
  identity: containerIdentity,
  containerId: z.string(),
  image: z.string(),
  startedAt: time.optional(),
  memoryBytes: bytes.optional(),
  writableLayerBytes: bytes.optional(),
  lastCheckpoint: z.object({ id: z.string(), takenAt: time }).optional(),
  captureInFlight: z.string().optional().describe('The id of the job'),
})

export const runningContainerList = z.object({ items: z.array(runningContainerResponse) })

export const nodeResponse = z.object({
  node: z.string(),
  agentVersion: z.string(),
  runtime: z
    .object({ name: z.string(), version: z.string() })
    .optional()
    .describe('Absent until the runtime has answered once'),
  canCheckpoint: z.object({
    state: z.enum(['yes', 'no', 'unknown']),
    code: z.string().optional(),
    reason: z.string().optional(),
    hint: z.string().optional(),
    checkedAt: time.optional(),
  }),
  disk: z.object({ totalBytes: bytes, freeBytes: bytes, archiveBytes: bytes, floorBytes: bytes }),
  checkpoints: z.object({ count, byState: z.record(z.string(), count) }),
  captures: z.object({ running: count, queued: count, queueLimit: count }),
  freezeGuard: z.object({
    policy: z.enum(['report', 'resume']),
    frozenNow: count.describe('Containers that somebody else left frozen'),
    resumedTotal: count.describe('Own ones, brought back'),
    foreignResumedTotal: count,
    canLook: z.boolean().describe('Whether the agent can see what is frozen at all'),
  }),
  custody: z.object({
    keyId: z.string().describe('SHA-256 of the DER of the public key: pin this one'),
    publicKey: z.string().describe('PEM. It signs manifests and heads of the custody log'),
  }),
  tlsFingerprint: z.string().optional().describe('SHA-256 of the certificate of the TLS listener'),
})

const sha256Text = z.string().regex(/^[0-9a-f]{64}$/)

export const custodyQuery = z.strictObject({
  checkpoint: z.string().min(1).optional().describe('The id of a checkpoint: only entries about it'),
  after: wholeNumber().default(0).describe('Entries after this number'),
  limit: pageLimit,
})

export const custodyExportQuery = custodyQuery.pick({ after: true })

export const custodyVerifyQuery = z.strictObject({
  head: z
    .string()
    .regex(/^\d{1,15}:[0-9a-f]{64}$/, 'must be the number of an entry and its hash, as in "17:ab12…"')
    .transform((text) => ({ seq: Number.parseInt(text, 10), hash: text.slice(text.indexOf(':') + 1) }))
    .optional()
    .describe('A head that was kept elsewhere, as `seq:hash`'),
})

export const custodyEntry = z.object({
  seq: count,
  time,
  node: z.string(),
  actor: z.object({
    user: z.string(),
    groups: z.array(z.string()),
    address: z.string().optional(),
    requestId: z.string().optional(),
  }),
  action: z.string().describe('Such as "capture", "content", "delete", "tampering"; there may be more of them later'),
  checkpoint: z
    .object({
      id: z.string(),
      fileName: z.string(),
      sizeBytes: bytes.optional(),
      sha256: z.string().optional(),
    })
    .optional(),
  detail: z.record(z.string(), z.unknown()).optional(),
  outcome: z.string().describe('"intended" stands before a deed; how it ended is an entry of its own'),
  previous: z.string().describe('The hash of the entry before'),
  hash: z.string(),
})

export const custodyPage = z.object({
  items: z.array(custodyEntry).describe('In the order in which they were written'),
  continue: z.string().optional().describe('Give it back as `after`; absent on the last page'),
})

const chainEnd = z.object({ seq: count, hash: sha256Text })

export const custodyReport = z.object({
  sound: z.boolean(),
  problems: z.array(
    z.object({ code: z.string(), file: z.string().optional(), line: count.optional(), detail: z.string() }),
  ),
  problemCount: count.describe('Of those there are; the first hundred are listed'),
  files: count,
  entries: count,
  first: chainEnd.optional(),
  last: chainEnd.optional(),
  head: chainEnd.optional().describe('What the end was compared with'),
  keyId: z.string().optional(),
})

export const dsseEnvelope = z.object({
  payloadType: z.string(),
  payload: z.string().describe('Base64'),
  signatures: z.array(z.object({ keyid: z.string(), sig: z.string().describe('Base64') })),
})

const checkState = z.enum(['ok', 'degraded', 'failed'])

export const healthResponse = z.object({ status: z.enum(['ok', 'failed']) })

export const readinessResponse = z.object({
  status: checkState.describe('"degraded" is ready all the same'),
  checks: z
    .array(z.object({ name: z.string(), state: checkState }))
    .optional()
    .describe('With `verbose`'),
})

export const kubeletResult = z.object({
  items: z.array(z.string()).describe('The absolute path of the archive on the node'),
})

/** Looser than the others: an error may carry fields of its own, such as the `job` that is in the way. */
const missingPermission = z
  .object({
    verb: z.string(),
    group: z.string(),
    resource: z.string(),
    namespace: z.string().optional(),
    name: z.string().optional(),
  })
  .describe('Of a 403: what a Role would have to say')

export const problem = z.looseObject({
  type: z.string(),
  title: z.string(),
  status: z.int(),
  detail: z.string(),
  code: z.string().describe('Stable: match on this one'),
  hint: z.string().optional().describe('The next step'),
  runtimeMessage: z.string().optional().describe("The runtime's own text"),
  missingPermission: missingPermission.optional(),
})

export type AccessResponse = z.infer<typeof accessResponse>
export type CustodyPageResponse = z.infer<typeof custodyPage>
export type CustodyReportResponse = z.infer<typeof custodyReport>
export type CaptureRequestBody = z.infer<typeof captureRequest>
export type CaptureJobResponse = z.infer<typeof captureJobResponse>
export type CaptureJobList = z.infer<typeof captureJobList>
export type CaptureResult = z.infer<typeof captureResult>
export type CaptureErrorResponse = z.infer<typeof captureError>
export type ContainerCaptureResponse = z.infer<typeof containerCaptureResponse>
export type CheckpointResponse = z.infer<typeof checkpointResponse>
export type CheckpointList = z.infer<typeof checkpointList>
export type DumpStatisticsResponse = z.infer<typeof dumpStatistics>
export type MemberResponse = z.infer<typeof memberResponse>
export type VerificationResponse = z.infer<typeof verificationResponse>
export type MemberList = z.infer<typeof memberList>
export type RootfsDiffResponse = z.infer<typeof rootfsDiffResponse>
export type RunningContainerResponse = z.infer<typeof runningContainerResponse>
export type RunningContainerList = z.infer<typeof runningContainerList>
export type NodeResponse = z.infer<typeof nodeResponse>
export type HealthResponse = z.infer<typeof healthResponse>
export type ReadinessResponse = z.infer<typeof readinessResponse>
export type Problem = z.infer<typeof problem>
