import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { Actor } from './services.ts'

const localSockets = new WeakSet<Socket>()

/** Notes that this connection came in over the unix socket, which only root of this node can open. */
export function markAsLocalRoot(socket: Socket): void {
  localSockets.add(socket)
}

/** The name of who asks, as it is kept in jobs. */
export function callerOf(request: IncomingMessage): string {
  return localSockets.has(request.socket) ? 'system:local-root' : 'system:anonymous'
}

/** Who asks, for the custody log. */
export function actorOf(request: IncomingMessage, response: ServerResponse): Actor {
  const requestId = response.getHeader('x-request-id')
  const address = request.socket.remoteAddress
  return {
    user: callerOf(request),
    groups: [],
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
