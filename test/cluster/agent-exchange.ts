import { connect, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { parseAnswer, type RawAnswer } from '../http/raw-request.ts'
import type { Credentials } from './node-request.ts'

/** Where requests go: a socket of this machine, and TLS on it where the other side is a kubelet. */
export interface Destination {
  readonly socketPath: string
  readonly tls?: Credentials & { readonly servername: string }
}

const WITHIN_MS = 60_000

/** Sends these bytes on a connection of its own, reads until the other side ends it, and returns the last answer. */
export async function exchangeOnce(destination: Destination, bytes: Buffer): Promise<RawAnswer> {
  const said = await exchange(open(destination), bytes)
  return whole(parseAnswer(withoutContinue(said)))
}

function open({ socketPath, tls }: Destination): Socket {
  return tls === undefined ? connect(socketPath) : connectTls({ path: socketPath, ...tls })
}

function exchange(socket: Socket, bytes: Buffer): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>()
  const chunks: Buffer[] = []
  socket.setTimeout(WITHIN_MS, () => {
    socket.destroy(new Error(`Cannot wait for the answer: none came within ${WITHIN_MS} ms`))
  })
  socket.on('data', (chunk: Buffer) => chunks.push(chunk))
  socket.on('error', reject)
  socket.on('close', () => {
    resolve(Buffer.concat(chunks).toString())
  })
  socket.write(bytes)
  return promise
}

/** Node says it before a request with "Expect: 100-continue" is handled, Go when the handler reads the body. */
function withoutContinue(text: string): string {
  return text.replace(/^HTTP\/1\.1 100 Continue\r\n\r\n/, '')
}

/** Go sends a long body in pieces. */
function whole(answer: RawAnswer): RawAnswer {
  if (answer.headers['transfer-encoding'] !== 'chunked') return answer
  const pieces: string[] = []
  for (let rest = answer.body; ;) {
    const end = rest.indexOf('\r\n')
    const size = Number.parseInt(rest.slice(0, end), 16)
    if (!(size > 0)) break
    pieces.push(rest.slice(end + 2, end + 2 + size))
    rest = rest.slice(end + 2 + size + 2)
  }
  return { ...answer, body: pieces.join('') }
}
