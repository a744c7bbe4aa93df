import { z } from 'zod'

const missingPermission = z
  .object({
    verb: z.string(),
    group: z.string(),
    resource: z.string(),
    namespace: z.string().optional(),
    name: z.string().optional(),
  })
  .describe('The permission that a Role must grant; present with status 403')

/** Allows further fields: some codes have fields of their own, such as the `job` that is in flight. */
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

export type Problem = z.infer<typeof problem>
