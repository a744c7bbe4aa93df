import { z } from 'zod'
import type { ApiServer } from './api-server-client.ts'
import { ApiServerError } from './api-server-error.ts'
import type { Principal } from './principal.ts'

const answerSchema = z.object({
  status: z.object({
    authenticated: z.boolean().optional(),
    audiences: z.array(z.string()).nullish(),
    user: z
      .object({
        username: z.string().optional(),
        uid: z.string().optional(),
        groups: z.array(z.string()).nullish(),
        extra: z.record(z.string(), z.array(z.string())).nullish(),
      })
      .optional(),
  }),
})

/**
 * Returns the user of a token; undefined if it is not valid for these audiences. Throws
 * ApiServerError.
 */
export async function reviewToken(
  api: ApiServer,
  token: string,
  audiences: readonly string[],
): Promise<Principal | undefined> {
  const answer = await api.send('POST', '/apis/authentication.k8s.io/v1/tokenreviews', {
    apiVersion: 'authentication.k8s.io/v1',
    kind: 'TokenReview',
    spec: { token, ...(audiences.length > 0 && { audiences }) },
  })
  const parsed = answerSchema.safeParse(answer)
  if (!parsed.success) throw new ApiServerError('the answer of the API server is no TokenReview')
  const { authenticated, audiences: confirmed, user } = parsed.data.status
  if (authenticated !== true || user?.username === undefined || user.username === '') return undefined
  // An API server without support for audiences omits them and would accept any token.
  if (audiences.length > 0 && confirmed?.some((audience) => audiences.includes(audience)) !== true) return undefined
  const { username, uid, groups, extra } = user
  return {
    user: username,
    groups: groups ?? [],
    ...(uid !== undefined && uid !== '' && { uid }),
    ...(extra !== undefined && extra !== null && { extra }),
  }
}
