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

export const checkpointIdentity = containerIdentity.extend({
  source: z.enum(['observed', 'archive', 'name', 'unknown']).describe('How the identity is known'),
})

export const checkpointResponse = z.object({
  id: z.string(),
  node: z.string(),
  fileName: z.string(),
  state: z.string().describe('"discovered": the archive is in place, and has not been read yet'),
  problems: z.array(z.string()),
  identity: checkpointIdentity,
  takenAt: time,
  sizeBytes: bytes,
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
  continue: z.string().optional().describe('Give it back as `continue` to get the next page; absent on the last one'),
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

export const captureListQuery = z.strictObject({
  limit: z.coerce.number().int().min(1).max(1000).default(100),
  continue: z.string().optional().describe('From the page before'),
})

export const noQuery = z.strictObject({})

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
  tlsFingerprint: z.string().optional().describe('SHA-256 of the certificate of the TLS listener'),
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
export const problem = z.looseObject({
  type: z.string(),
  title: z.string(),
  status: z.int(),
  detail: z.string(),
  code: z.string().describe('Stable: match on this one'),
  hint: z.string().optional().describe('The next step'),
  runtimeMessage: z.string().optional().describe("The runtime's own text"),
})

export type CaptureRequestBody = z.infer<typeof captureRequest>
export type CaptureJobResponse = z.infer<typeof captureJobResponse>
export type CaptureJobList = z.infer<typeof captureJobList>
export type CaptureResult = z.infer<typeof captureResult>
export type CaptureErrorResponse = z.infer<typeof captureError>
export type ContainerCaptureResponse = z.infer<typeof containerCaptureResponse>
export type CheckpointResponse = z.infer<typeof checkpointResponse>
export type RunningContainerResponse = z.infer<typeof runningContainerResponse>
export type RunningContainerList = z.infer<typeof runningContainerList>
export type NodeResponse = z.infer<typeof nodeResponse>
export type HealthResponse = z.infer<typeof healthResponse>
export type ReadinessResponse = z.infer<typeof readinessResponse>
export type Problem = z.infer<typeof problem>
