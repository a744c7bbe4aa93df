import { z } from 'zod'
import type { ApiServer } from './api-server-client.ts'
import { ApiServerError } from './api-server-error.ts'
import type { Principal } from './principal.ts'
import type { Question } from './question.ts'

const answerSchema = z.object({
  status: z.object({ allowed: z.boolean(), denied: z.boolean().optional() }),
})

/**
 * Asks whether the API server's authorizers, such as RBAC, allow the request. Throws
 * ApiServerError.
 */
export async function reviewAccess(api: ApiServer, principal: Principal, question: Question): Promise<boolean> {
  const { user, uid, groups, extra } = principal
  const { verb, group, resource, subresource, namespace, name } = question
  const answer = await api.send('POST', '/apis/authorization.k8s.io/v1/subjectaccessreviews', {
    apiVersion: 'authorization.k8s.io/v1',
    kind: 'SubjectAccessReview',
    spec: {
      user,
      ...(uid !== undefined && { uid }),
      groups,
      ...(extra !== undefined && { extra }),
      resourceAttributes: {
        verb,
        group,
        version: 'v1',
        resource,
        ...(subresource !== undefined && { subresource }),
        ...(namespace !== undefined && { namespace }),
        ...(name !== undefined && { name }),
      },
    },
  })
  const parsed = answerSchema.safeParse(answer)
  if (!parsed.success) throw new ApiServerError('the answer of the API server is no SubjectAccessReview')
  const { allowed, denied } = parsed.data.status
  return allowed && denied !== true
}
