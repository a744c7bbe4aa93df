import { z } from 'zod'
import { name } from './common-schemas.ts'

export const accessQuery = z.strictObject({
  namespace: name.optional().describe('The namespace to check; without it, all namespaces'),
})

export const accessResponse = z.object({
  user: z.string(),
  groups: z.array(z.string()),
  node: z.string(),
  namespace: z.string().optional(),
  permissions: z.array(
    z.object({
      verb: z.string(),
      group: z.string().describe('Empty for the core group of Kubernetes'),
      resource: z.string().describe('As in a Role: `checkpoints/proxy`'),
      namespace: z.string().optional(),
      name: z.string().optional(),
      allowed: z.boolean(),
    }),
  ),
})

export type AccessResponse = z.infer<typeof accessResponse>
