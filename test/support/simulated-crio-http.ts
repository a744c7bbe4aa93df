import { createServer, type Server } from 'node:http'
import type { Socket } from 'node:net'
import type { SimulatedPods } from './simulated-pods.ts'

/** How HTTP/2 begins, and so gRPC; CRI-O's cmux goes by it. */
const HTTP2_PREFACE = 'PRI * HTTP/2.0'

/** Both protocols come in on one socket: the first bytes say which one it is. */
export function demultiplex(
  socket: Socket,
  { http1, http2 }: { readonly http1: (socket: Socket) => void; readonly http2: (socket: Socket) => void },
): void {
  socket.once('data', (begin: Buffer) => {
    socket.pause()
    socket.unshift(begin)
    const isHttp2 = begin.toString('latin1').startsWith(HTTP2_PREFACE.slice(0, begin.length))
    if (isHttp2) {
      // A session takes what was read already by itself.
      http2(socket)
      return
    }
    http1(socket)
    socket.resume()
  })
}

/** What CRI-O answers beside gRPC (`server/inspect.go`), as far as pauses go. */
export function createCrioHttp(pods: SimulatedPods): Server {
  return createServer((req, res) => {
    const [, call, id = ''] = (req.url ?? '').split('/')
    const { status, text } = answer(pods, req.method === 'GET' ? call : undefined, decodeURIComponent(id))
    res.writeHead(status, { 'content-type': 'text/plain; charset=utf-8' }).end(text)
  })
}

function answer(pods: SimulatedPods, call: string | undefined, id: string): { status: number; text: string } {
  if (call !== 'pause' && call !== 'unpause') return { status: 404, text: '404 page not found\n' }
  const container = pods.find(id)?.container
  if (container === undefined) return { status: 404, text: `can't find the container with id ${id}\n` }
  const { task } = container
  if (call === 'pause') {
    if (task !== 'running') return { status: 409, text: `container is not in running state, now is ${task}\n` }
    if (container.isFrozen) return { status: 500, text: 'cannot pause a paused container\n' }
    container.pause()
    return { status: 200, text: '200 OK' }
  }
  if (task !== 'paused') return { status: 409, text: `container is not in paused state, now is ${task}\n` }
  return container.resume() ? { status: 200, text: '200 OK' } : { status: 500, text: 'container not paused\n' }
}
