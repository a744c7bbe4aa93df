import { randomUUID } from 'node:crypto'
import type { Server, ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import type { Problem } from '../api/problem-schema.ts'
import { STATUS_CODES } from './node-http.ts'

/** What Node's parser refuses before there is a request that the app could answer. */
const PROBLEM_BY_CODE: ReadonlyMap<
  string,
  { readonly status: number; readonly code: string; readonly detail: string }
> = new Map([
  ['HPE_HEADER_OVERFLOW', { status: 431, code: 'HeadersTooLarge', detail: 'the headers are larger than 64 KiB' }],
  ['ERR_HTTP_REQUEST_TIMEOUT', { status: 408, code: 'RequestTimeout', detail: 'it did not arrive in time' }],
])

const LINGER_MS = 2_000

const MALFORMED = { status: 400, code: 'InvalidRequest', detail: 'it is no HTTP/1.1 request' }

/** Answers on the bare connection in the form of every other error, and ends it. */
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
    // With more than one of them, or one of which something is on the wire already, ours would be read as part of it.
    const isFree = answers.length === 0 || (answers.length === 1 && begun?.headersSent === false)
    if (!isFree || !socket.writable) socket.destroy()
    else answer(error.code ?? '', socket)
  })
  // Nothing here is a proxy; without this the connection would end without a word.
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
  // The other side need not end it too, and a cut at once could take the answer along.
  setTimeout(() => socket.destroy(), LINGER_MS).unref()
}
