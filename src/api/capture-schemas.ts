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
    .describe('The archive is whole, or may be: it is kept in staging, and the next start of the agent publishes it'),
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

export const captureListQuery = z.strictObject({ namespace: name.optional(), ...page })

export type CaptureRequestBody = z.infer<typeof captureRequest>
export type CaptureJobResponse = z.infer<typeof captureJobResponse>
export type CaptureJobList = z.infer<typeof captureJobList>
export type CaptureResult = z.infer<typeof captureResult>
export type CaptureErrorResponse = z.infer<typeof captureError>
export type ContainerCaptureResponse = z.infer<typeof containerCaptureResponse>
