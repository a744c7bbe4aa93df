import { z } from 'zod'
import { bytes, containerIdentity, count, name, time } from './common-schemas.ts'

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
  captures: z.object({
    running: count,
    queued: count,
    queueLimit: count,
    unpublished: count.describe(
      'Whole archives that could not be published: kept in staging, tried again at the next start',
    ),
  }),
  freezeGuard: z.object({
    policy: z.enum(['report', 'resume']),
    frozenNow: count.describe('Containers that somebody else left frozen'),
    resumedTotal: count.describe('Own ones, brought back'),
    foreignResumedTotal: count,
    canLook: z.boolean().describe('Whether the agent can see what is frozen at all'),
  }),
  leftoverImages: z
    .object({
      containers: count,
      bytes,
      oldestAt: time.optional(),
    })
    .optional()
    .describe(
      "Containers' memory that failed checkpoints left under runtime.crioStorage; absent where nobody can look",
    ),
  custody: z.object({
    keyId: z.string().describe('SHA-256 of the DER of the public key: pin this one'),
    publicKey: z.string().describe('PEM. It signs manifests and heads of the custody log'),
  }),
  tlsFingerprint: z.string().optional().describe('SHA-256 of the certificate of the TLS listener'),
})

const checkState = z.enum(['ok', 'degraded', 'failed'])

export const healthResponse = z.object({ status: z.enum(['ok', 'failed']) })

export const readinessResponse = z.object({
  status: checkState.describe('"degraded" is ready all the same'),
  checks: z
    .array(
      z.object({
        name: z.string(),
        state: checkState,
        reason: z.string().optional().describe('Of a check that is not "ok"'),
        hint: z.string().optional().describe('The next step'),
      }),
    )
    .optional()
    .describe('With `verbose`'),
})

export type AccessResponse = z.infer<typeof accessResponse>
export type RunningContainerResponse = z.infer<typeof runningContainerResponse>
export type RunningContainerList = z.infer<typeof runningContainerList>
export type NodeResponse = z.infer<typeof nodeResponse>
export type HealthResponse = z.infer<typeof healthResponse>
export type ReadinessResponse = z.infer<typeof readinessResponse>
