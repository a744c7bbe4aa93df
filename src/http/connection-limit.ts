import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { userOf } from './caller.ts'

interface Connection {
  readonly key: string
  /** As it was accepted, beneath TLS. */
  readonly socket: Socket
  /** What requests come over. */
  carrier: Socket
  requests: number
}

/**
 * Holds so many connections at most. For one more than that another goes: the oldest of a stranger, since who has
 * credentials shows them within moments; else one of the user who has most, an idle one first. So neither strangers nor a
 * user who takes all can keep others out. Addresses count for nothing: behind a port-forward there is only one.
 */
export function limitConnections(server: Server, max: number): void {
  /** The oldest first. */
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

/** There is one listener, so the other end tells them apart. Undefined for one that has ended already. */
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
