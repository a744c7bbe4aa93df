import type { IncomingMessage } from 'node:http'
import type { Access } from '../access/access.ts'
import type { Verb } from '../shared/rbac-verb.ts'
import { escapeUnreadable } from '../shared/readable-text.ts'
import { identify } from './authenticate.ts'
import type { Judge } from './judge.ts'

/** The kubelet's answer to a caller it does not let in; undefined for one that it does. */
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
 * Who may use the kubelet's endpoint may use this one, and so may who may take checkpoints in the namespace. In the
 * kubelet's words, also where the API server cannot be asked.
 */
export function kubeletGuard(access: Access, judge: Judge): KubeletGuard {
  return async (req, namespace) => {
    // The kubelet too says 401 when it cannot find out whose token it is.
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
