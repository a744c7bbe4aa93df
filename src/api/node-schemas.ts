import { z } from 'zod'
import { bytes, count, time } from './common-schemas.ts'

export const nodeResponse = z.object({
  node: z.string(),
  agentVersion: z.string(),
  runtime: z
    .object({ name: z.string(), version: z.string() })
    .optional()
    .describe('Absent until the runtime has answered for the first time'),
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
      'Whole archives that could not be published: they stay in staging until the agent starts again',
    ),
  }),
  freezeGuard: z.object({
    policy: z.enum(['report', 'resume']),
    frozenNow: count.describe('Containers that another program left frozen'),
    resumedTotal: count.describe('Containers that this agent had left frozen and resumed'),
    foreignResumedTotal: count,
    canLook: z.boolean().describe('Whether the agent can see which containers are frozen'),
  }),
  leftoverImages: z
    .object({
      containers: count,
      bytes,
      oldestAt: time.optional(),
    })
    .optional()
    .describe(
      'Memory images that failed checkpoints left under runtime.crioStorage; absent if the agent cannot look there',
    ),
  custody: z.object({
    keyId: z.string().describe('SHA-256 of the public key in DER: pin this value'),
    publicKey: z.string().describe('In PEM. The key signs manifests and heads of the custody log'),
  }),
  tlsFingerprint: z.string().optional().describe('SHA-256 of the certificate of the TLS listener'),
})

export type NodeResponse = z.infer<typeof nodeResponse>
