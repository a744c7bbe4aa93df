import { z } from 'zod'

export const readinessQuery = z.strictObject({
  verbose: z.enum(['', 'true', 'false']).optional().describe('List the checks one by one'),
})

const checkState = z.enum(['ok', 'degraded', 'failed'])

export const healthResponse = z.object({ status: z.enum(['ok', 'failed']) })

export const readinessResponse = z.object({
  status: checkState.describe('A "degraded" agent is ready'),
  checks: z
    .array(
      z.object({
        name: z.string(),
        state: checkState,
        reason: z.string().optional().describe('Why the check is not "ok"'),
        hint: z.string().optional().describe('The next step'),
      }),
    )
    .optional()
    .describe('Listed with `verbose`'),
})

export type HealthResponse = z.infer<typeof healthResponse>
export type ReadinessResponse = z.infer<typeof readinessResponse>
