import { z } from 'zod'
import { name } from './common-schemas.ts'

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

export type AccessResponse = z.infer<typeof accessResponse>
