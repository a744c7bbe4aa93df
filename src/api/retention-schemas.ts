import { z } from 'zod'
import { bytes, count, page, time } from './common-schemas.ts'

export const retentionPlanQuery = z.strictObject({
  include: z.literal('keep').optional().describe('Also list what stays, and why, after what is removed'),
  ...page,
})

export const retentionPlanRequest = z.strictObject({
  policy: z
    .looseObject({})
    .optional()
    .describe('The policy as under `retention` in the configuration; without it, the policy in force'),
})

export const retentionSweepRequest = z.strictObject({
  planId: z.string().max(100).optional().describe('The id of the plan you reviewed: any other plan is refused'),
  reason: z.string().max(1024).optional().describe('The reason, for the custody log'),
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
  reasons: z.array(z.string()).describe('Reasons for people, each with its rule'),
  codes: z.array(z.string()).describe('The codes of the reasons: match on these'),
})

export const retentionPlan = z.object({
  id: z.string().describe('The digest of the policy and of everything it would remove'),
  remove: z.array(plannedArchive).describe('In the order of removal'),
  keep: z.array(plannedArchive).optional(),
  blocked: z.array(retentionBlocked).describe('Limits that cannot be reached'),
  diskNotOurs: z
    .boolean()
    .describe('Something other than archives fills the disk, so no archive is removed to free space'),
  totals: z.object({ archives: count, bytes, removedArchives: count, removedBytes: bytes }),
  continue: z.string().optional().describe('Pass it as `continue` to get the next page; absent on the last page'),
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
  outcome: z
    .enum(['done', 'stopped', 'failed'])
    .describe('"stopped": the agent ended, and the next sweep removes the rest'),
  error: z.object({ code: z.string(), detail: z.string() }).optional(),
  removed,
  byRule: z.record(z.string(), removed),
  failed: left.describe('Archives that the file system refused to remove'),
  skipped: left.describe('Archives that were no longer as planned'),
  blocked: z.array(retentionBlocked),
  diskNotOurs: z.boolean(),
})

export const retentionStatus = z.object({
  policy: z
    .looseObject({})
    .describe(
      'The policy in force, as under `retention` in the configuration and as `POST /v1/retention/plan` takes it. It does not contain the built-in rule that follows all others',
    ),
  mistakes: z.array(z.string()).describe('Mistakes in a newer policy, which is therefore not in force'),
  sweeping: z.boolean(),
  nextSweepAt: time.optional().describe('Absent if sweeps run only on request or when the disk is nearly full'),
  lastSweep: sweepReport.optional(),
})

export const retentionHistory = z.object({
  items: z.array(sweepReport).describe('Newest first'),
  continue: z.string().optional().describe('Pass it as `continue` to get the next page; absent on the last page'),
  remaining: count,
})

export type RetentionPlanResponse = z.infer<typeof retentionPlan>
export type PlannedArchiveResponse = z.infer<typeof plannedArchive>
export type RetentionStatusResponse = z.infer<typeof retentionStatus>
export type RetentionHistoryResponse = z.infer<typeof retentionHistory>
export type SweepReportResponse = z.infer<typeof sweepReport>
export type RetentionPlanRequest = z.infer<typeof retentionPlanRequest>
export type RetentionSweepRequest = z.infer<typeof retentionSweepRequest>
