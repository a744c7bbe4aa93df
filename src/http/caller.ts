import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { ANONYMOUS, LOCAL_ROOT, type Principal } from '../access/principal.ts'
import type { Actor } from '../checkpoint/actor.ts'

const localSockets = new WeakSet<Socket>()
const principals = new WeakMap<IncomingMessage, Principal>()
const users = new WeakMap<Socket, string>()

/** Marks a connection from the unix socket, which only root on this node can open. */
export function markAsLocalRoot(socket: Socket): void {
  localSockets.add(socket)
}

export function isLocalRoot(request: IncomingMessage): boolean {
  return localSockets.has(request.socket)
}

/** Remembers the authenticated principal for the request and its connection. */
export function rememberPrincipal(request: IncomingMessage, principal: Principal): void {
  principals.set(request, principal)
  users.set(request.socket, principal.user)
}

/** Returns the user of the connection's most recent authenticated request; undefined before the first. */
export function userOf(socket: Socket): string | undefined {
  return users.get(socket)
}

/** Returns the principal of a request; anonymous until authentication succeeds. */
export function principalOf(request: IncomingMessage): Principal {
  return isLocalRoot(request) ? LOCAL_ROOT : (principals.get(request) ?? ANONYMOUS)
}

/** Returns the caller's user name, as capture jobs store it. */
export function callerOf(request: IncomingMessage): string {
  return principalOf(request).user
}

/** Describes the caller for the custody log. */
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

/**
 * Returns a signal that aborts when the client disconnects or the response is complete. Call it before the first
 * `await`.
 */
export function presenceOf(response: ServerResponse): AbortSignal {
  const presence = new AbortController()
  response.once('close', () => presence.abort())
  return presence.signal
}
