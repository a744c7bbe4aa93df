import { existsSync, linkSync, mkdirSync, renameSync, rmSync } from 'node:fs'
import { createServer, type Server as SocketServer, type Socket } from 'node:net'
import { dirname } from 'node:path'

/** What a client meets at the socket's path. */
export type SocketFile = 'removed' | 'stale'

/** A unix socket that can vanish, come back as another file, refuse, or take connections and say nothing. */
export class SimulatedSocket {
  readonly path: string
  readonly #onConnection: (socket: Socket) => void
  readonly #sockets = new Set<Socket>()
  #server: SocketServer | undefined
  #isSilent = false

  constructor(path: string, onConnection: (socket: Socket) => void) {
    this.path = path
    this.#onConnection = onConnection
  }

  async listen(): Promise<void> {
    mkdirSync(dirname(this.path), { recursive: true })
    rmSync(this.path, { force: true })
    const server = createServer((socket) => {
      this.#sockets.add(socket)
      socket.on('close', () => this.#sockets.delete(socket))
      socket.on('error', () => undefined) // the other side may go at any time
      if (!this.#isSilent) this.#onConnection(socket)
    })
    const listening = Promise.withResolvers<void>()
    server.once('error', listening.reject)
    server.listen(this.path, listening.resolve)
    await listening.promise
    this.#server = server
  }

  /** `stale`: the file stays, with nobody behind it, as after a kill. */
  async close(file: SocketFile = 'removed'): Promise<void> {
    const server = this.#server
    if (server === undefined) return
    this.#server = undefined
    const kept = `${this.path}.kept`
    // The server unlinks its path when it closes; a second link keeps the file.
    if (file === 'stale' && existsSync(this.path)) linkSync(this.path, kept)
    const closed = Promise.withResolvers<void>()
    server.close(() => closed.resolve())
    this.dropConnections()
    await closed.promise
    if (file === 'stale') renameSync(kept, this.path)
  }

  dropConnections(): void {
    for (const socket of this.#sockets) socket.destroy()
  }

  /** New connections are taken and never answered. */
  setSilent(isSilent: boolean): void {
    this.#isSilent = isSilent
  }
}
