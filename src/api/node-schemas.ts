import { z } from 'zod'
import { bytes, count, time } from './common-schemas.ts'

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

export type NodeResponse = z.infer<typeof nodeResponse>
