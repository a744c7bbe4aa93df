import type { IncomingMessage } from 'node:http'
import type { Access } from '../access/access.ts'
import type { Verb } from '../shared/rbac-verb.ts'
import { escapeUnreadable } from '../shared/readable-text.ts'
import { identify } from './authenticate.ts'
import type { Judge } from './judge.ts'

/** The kubelet's response to a caller without access; undefined if access is allowed. */
export type KubeletRefusal = { readonly status: 401 | 403 | 500; readonly body: string } | undefined

export type KubeletGuard = (req: IncomingMessage, namespace: string | undefined) => Promise<KubeletRefusal>

const VERBS: Readonly<Record<string, Verb>> = {
  POST: 'create',
  GET: 'get',
  PUT: 'update',
  PATCH: 'patch',
  DELETE: 'delete',
}

/**
 * Authorizes callers who may use the kubelet's endpoint or may create checkpoints in the namespace. Refusals use the
 * kubelet's own text, also when the API server cannot be reached.
 */
export function kubeletGuard(access: Access, judge: Judge): KubeletGuard {
  return async (req, namespace) => {
    // The kubelet also answers 401 if it cannot authenticate the token.
    const identity = await identify(req, access).catch(() => undefined)
    if (identity === undefined) return { status: 401, body: 'Unauthorized' }
    const { principal } = identity
    const verb = VERBS[req.method ?? ''] ?? ''
    const asked = `user=${escapeUnreadable(principal.user)}, verb=${verb}, resource=nodes`
    const create = { verb: 'create', isContent: false } as const
    const ours = verb === 'create' && namespace !== undefined
    try {
      const { isAllowed } = await judge.mayAny(
        principal,
        judge.ofCoreNode(verb, 'checkpoint'),
        ...(ours ? [judge.inNamespace(create, namespace), judge.onNode(create)] : []),
      )
      return isAllowed ? undefined : { status: 403, body: `Forbidden (${asked}, subresource(s)=[checkpoint])\n` }
    } catch {
      return { status: 500, body: `Authorization error (${asked}, subresource=checkpoint)` }
    }
  }
}
