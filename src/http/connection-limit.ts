import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { userOf } from './caller.ts'

interface Connection {
  readonly key: string
  /** Raw TCP socket, underneath TLS. */
  readonly socket: Socket
  /** Socket that delivers requests: the TLS socket, if any. */
  carrier: Socket
  requests: number
}

/**
 * Limits the number of connections by closing one for each connection above the limit. The oldest unauthenticated
 * connection goes first, because legitimate clients authenticate within moments. Otherwise the user with the most
 * connections loses one, preferably an idle one. Thus neither unauthenticated clients nor a greedy user can lock others
 * out. Addresses do not count: behind a port-forward, all clients share one.
 */
export function limitConnections(server: Server, max: number): void {
  /** Open connections, oldest first. */
  const connections = new Map<string, Connection>()

  server.on('connection', (socket: Socket) => {
    const key = keyOf(socket)
    if (key === undefined) return
    if (connections.size >= max) {
      const victim = findVictim([...connections.values()])
      connections.delete(victim.key)
      victim.socket.destroy()
    }
    connections.set(key, { key, socket, carrier: socket, requests: 0 })
    socket.once('close', () => {
      if (connections.get(key)?.socket === socket) connections.delete(key)
    })
  })
  server.on('secureConnection', (carrier: Socket) => {
    const connection = connections.get(keyOf(carrier) ?? '')
    if (connection !== undefined) connection.carrier = carrier
  })
  server.on('request', ({ socket }: IncomingMessage, res: ServerResponse) => {
    const connection = connections.get(keyOf(socket) ?? '')
    if (connection === undefined) return
    connection.requests += 1
    res.once('close', () => {
      connection.requests -= 1
    })
  })
}

/**
 * Identifies a connection by its remote end, since there is only one listener. Returns undefined if the connection has
 * already ended.
 */
function keyOf({ remoteAddress, remotePort }: Socket): string | undefined {
  return remotePort === undefined ? undefined : `${remoteAddress ?? ''} ${String(remotePort)}`
}

function findVictim(connections: readonly Connection[]): Connection {
  const byUser = Map.groupBy(connections, ({ carrier }) => userOf(carrier))
  const [stranger] = byUser.get(undefined) ?? []
  if (stranger !== undefined) return stranger
  const [most = []] = [...byUser.values()].toSorted((one, other) => other.length - one.length)
  const victim = most.find(({ requests }) => requests === 0) ?? most.at(-1)
  if (victim === undefined) throw new Error('There are no connections')
  return victim
}
