import { z } from 'zod'
import { bytes, containerIdentity, count, name, nextPage, page, time } from './common-schemas.ts'
import { checkpointResponse } from './checkpoint-schemas.ts'

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
  archiveKept: z
    .literal(true)
    .optional()
    .describe('The archive is whole, or may be. It stays in staging, and the agent publishes it when it starts again'),
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
    .describe('Without a container, the job captures every running container of the pod'),
  reason: z.string().optional(),
  pin: z.boolean(),
  requestedBy: z.string(),
  queuedAt: time,
  startedAt: time.optional(),
  finishedAt: time.optional(),
  bytesWritten: bytes,
  phases: z.array(capturePhase).optional().describe('Present in a job for one container'),
  checkpoints: z.array(z.string()).describe('The ids of the checkpoints'),
  error: captureError.optional().describe('The error of the first capture that failed'),
  consistent: z
    .literal(false)
    .optional()
    .describe(
      'Present in a job for a whole pod: its containers are captured one after the other, not at the same moment',
    ),
  containers: z.array(containerCaptureResponse).optional().describe('Present in a job for a whole pod'),
})

export const captureJobList = z.object({
  items: z.array(captureJobResponse),
  continue: nextPage,
  remaining: count.describe('The number of items after this page'),
})

export const captureResult = z.object({
  items: z.array(checkpointResponse),
  job: z.string(),
  consistent: z.literal(false).optional().describe('Present for a whole pod, as in the job'),
})

/** The longest time that a timer can hold, in seconds: 24.8 days. */
const MAX_WAIT_SECONDS = 2_147_483

export const captureRequest = z.strictObject({
  namespace: name,
  pod: name,
  container: name
    .optional()
    .describe('Without it, every running container of the pod is captured, one after the other'),
  podUid: name.optional().describe('Refuses the request if the pod with this name has another UID'),
  timeoutSeconds: z
    .int()
    .min(0)
    .max(MAX_WAIT_SECONDS)
    .optional()
    .describe('Ends the wait of a caller that waits; the capture continues'),
  reason: z.string().max(1024).optional().describe('Recorded with the job'),
  pin: z.boolean().optional().describe('Keep the checkpoint until it is unpinned'),
})

export const captureQuery = z.strictObject({
  wait: z.enum(['true', 'false']).optional().describe('Answer when the capture has ended instead of immediately'),
})

export const captureListQuery = z.strictObject({ namespace: name.optional(), ...page })

export type CaptureRequestBody = z.infer<typeof captureRequest>
export type CaptureJobResponse = z.infer<typeof captureJobResponse>
export type CaptureJobList = z.infer<typeof captureJobList>
export type CaptureResult = z.infer<typeof captureResult>
export type CaptureErrorResponse = z.infer<typeof captureError>
export type ContainerCaptureResponse = z.infer<typeof containerCaptureResponse>
