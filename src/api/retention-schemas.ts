import { z } from 'zod'
import { bytes, count, page, time } from './common-schemas.ts'

export const retentionPlanQuery = z.strictObject({
  include: z.literal('keep').optional().describe('Also what stays, and why, after what goes'),
  ...page,
})

export const retentionPlanRequest = z.strictObject({
  policy: z
    .looseObject({})
    .optional()
    .describe('As it would stand below `retention` in the configuration; absent: the one in force'),
})

export const retentionSweepRequest = z.strictObject({
  planId: z.string().max(100).optional().describe('Of the plan that was looked at: any other is refused'),
  reason: z.string().max(1024).optional().describe('Why, for the custody log'),
})

export const retentionHistoryQuery = z.strictObject(page)

export const retentionBlocked = z.object({
  limit: z.string(),
  overBytes: bytes,
  overCount: count,
  by: z
    .array(z.object({ id: z.string(), fileName: z.string(), why: z.enum(['pinned', 'inUse', 'kept']) }))
    .describe('The first 100 of them'),
})

export const plannedArchive = z.object({
  id: z.string(),
  fileName: z.string(),
  sizeBytes: bytes,
  takenAt: time,
  state: z.string(),
  namespace: z.string().optional(),
  pod: z.string().optional(),
  container: z.string().optional(),
  reasons: z.array(z.string()).describe('For people, each with its rule'),
  codes: z.array(z.string()).describe('The same, to match on'),
})

export const retentionPlan = z.object({
  id: z.string().describe('Digest of the policy and of what would be removed'),
  remove: z.array(plannedArchive).describe('In the order in which they go'),
  keep: z.array(plannedArchive).optional(),
  blocked: z.array(retentionBlocked).describe('Limits that cannot be reached'),
  diskNotOurs: z.boolean().describe('Something else than archives fills their disk, so nothing goes for its sake'),
  totals: z.object({ archives: count, bytes, removedArchives: count, removedBytes: bytes }),
  continue: z.string().optional().describe('Where the next page begins; absent on the last one'),
})

const removed = z.object({ count, bytes })

const left = z.object({
  count,
  archives: z
    .array(z.object({ id: z.string(), fileName: z.string(), code: z.string(), reason: z.string() }))
    .describe('The first 100 of them'),
})

export const sweepReport = z.object({
  id: z.string(),
  startedAt: time,
  millis: count,
  trigger: z.enum(['schedule', 'disk', 'capture', 'api']),
  user: z.string(),
  planId: z.string(),
  outcome: z.enum(['done', 'stopped', 'failed']).describe('"stopped": the agent ended, the rest is for the next one'),
  error: z.object({ code: z.string(), detail: z.string() }).optional(),
  removed,
  byRule: z.record(z.string(), removed),
  failed: left.describe('What the file system refused to remove'),
  skipped: left.describe('What was not as planned any more'),
  blocked: z.array(retentionBlocked),
  diskNotOurs: z.boolean(),
})

export const retentionStatus = z.object({
  policy: z
    .looseObject({})
    .describe(
      'The one in force, as it would stand below `retention` in the configuration: what `POST /v1/retention/plan` takes. The shipped rule, which comes after all others, is not in it',
    ),
  mistakes: z.array(z.string()).describe('Of a policy that was written since, and is not followed'),
  sweeping: z.boolean(),
  nextSweepAt: time.optional().describe('Absent: only when it is asked for, or the disk is nearly full'),
  lastSweep: sweepReport.optional(),
})

export const retentionHistory = z.object({
  items: z.array(sweepReport).describe('Newest first'),
  continue: z.string().optional().describe('Where the next page begins; absent on the last one'),
  remaining: count,
})

export type RetentionPlanResponse = z.infer<typeof retentionPlan>
export type PlannedArchiveResponse = z.infer<typeof plannedArchive>
export type RetentionStatusResponse = z.infer<typeof retentionStatus>
export type RetentionHistoryResponse = z.infer<typeof retentionHistory>
export type SweepReportResponse = z.infer<typeof sweepReport>
export type RetentionPlanRequest = z.infer<typeof retentionPlanRequest>
export type RetentionSweepRequest = z.infer<typeof retentionSweepRequest>
