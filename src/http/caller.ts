import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { ANONYMOUS, LOCAL_ROOT, type Principal } from '../access/principal.ts'
import type { Actor } from '../checkpoint/actor.ts'

const localSockets = new WeakSet<Socket>()
const principals = new WeakMap<IncomingMessage, Principal>()
const users = new WeakMap<Socket, string>()

/** Notes that this connection came in over the unix socket, which only root of this node can open. */
export function markAsLocalRoot(socket: Socket): void {
  localSockets.add(socket)
}

export function isLocalRoot(request: IncomingMessage): boolean {
  return localSockets.has(request.socket)
}

/** Notes who asks, once that is known. */
export function rememberPrincipal(request: IncomingMessage, principal: Principal): void {
  principals.set(request, principal)
  users.set(request.socket, principal.user)
}

/** Who asked last over this connection; undefined while nobody has who is known. */
export function userOf(socket: Socket): string | undefined {
  return users.get(socket)
}

/** Who asks; nobody before it is known. */
export function principalOf(request: IncomingMessage): Principal {
  return isLocalRoot(request) ? LOCAL_ROOT : (principals.get(request) ?? ANONYMOUS)
}

/** The name of who asks, as it is kept in jobs. */
export function callerOf(request: IncomingMessage): string {
  return principalOf(request).user
}

/** Who asks, for the custody log. */
export function actorOf(request: IncomingMessage, response: ServerResponse): Actor {
  const requestId = response.getHeader('x-request-id')
  const address = request.socket.remoteAddress
  const { user, groups } = principalOf(request)
  return {
    user,
    groups,
    ...(address !== undefined && { address }),
    ...(typeof requestId === 'string' && { requestId }),
  }
}

/** Aborts when the caller leaves, and also once it has its answer. Ask for it before the first `await`. */
export function presenceOf(response: ServerResponse): AbortSignal {
  const presence = new AbortController()
  response.once('close', () => presence.abort())
  return presence.signal
}
