import { randomUUID } from 'node:crypto'
import type { Server, ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import type { Problem } from '../api/problem-schema.ts'
import { STATUS_CODES } from './node-http.ts'

/** Problems for the parser errors that Node.js reports before the app sees a request. */
const PROBLEM_BY_CODE: ReadonlyMap<
  string,
  { readonly status: number; readonly code: string; readonly detail: string }
> = new Map([
  ['HPE_HEADER_OVERFLOW', { status: 431, code: 'HeadersTooLarge', detail: 'the headers are larger than 64 KiB' }],
  ['ERR_HTTP_REQUEST_TIMEOUT', { status: 408, code: 'RequestTimeout', detail: 'it did not arrive in time' }],
])

const LINGER_MS = 2_000

const MALFORMED = { status: 400, code: 'InvalidRequest', detail: 'it is no HTTP/1.1 request' }

/** Answers malformed requests directly on the connection, in the format of all other errors, then closes it. */
export function answerClientErrors(server: Server): void {
  const answersOf = new WeakMap<Duplex, Set<ServerResponse>>()
  server.on('request', (req, res) => {
    const answers = answersOf.get(req.socket) ?? new Set()
    answersOf.set(req.socket, answers.add(res))
    res.once('close', () => answers.delete(res))
  })
  server.on('clientError', (error: NodeJS.ErrnoException, socket) => {
    const answers = [...(answersOf.get(socket) ?? [])]
    const [begun] = answers
    // If several responses are pending or one has started, the client would read this response as part of it.
    const isFree = answers.length === 0 || (answers.length === 1 && begun?.headersSent === false)
    if (!isFree || !socket.writable) socket.destroy()
    else answer(error.code ?? '', socket)
  })
  // The agent is no proxy. Without this handler, Node.js closes the connection without a response.
  server.on('connect', (_req, socket) => {
    if ((answersOf.get(socket)?.size ?? 0) > 0) socket.destroy()
    else answer('', socket)
  })
}

function answer(errorCode: string, socket: Duplex): void {
  const { status, code, detail } = PROBLEM_BY_CODE.get(errorCode) ?? MALFORMED
  const title = STATUS_CODES[status] ?? 'Error'
  const body: Problem = {
    type: `urn:checkpoint-agent:problem:${code}`,
    title,
    status,
    detail: `Cannot read the request: ${detail}`,
    code,
  }
  const text = JSON.stringify(body)
  const lines = [
    `HTTP/1.1 ${String(status)} ${title}`,
    'Content-Type: application/problem+json; charset=utf-8',
    `Content-Length: ${String(Buffer.byteLength(text))}`,
    `X-Request-Id: ${randomUUID()}`,
    'Connection: close',
  ]
  socket.end(`${lines.join('\r\n')}\r\n\r\n${text}`)
  // The client may never close its side, and closing immediately could lose the response.
  setTimeout(() => socket.destroy(), LINGER_MS).unref()
}
