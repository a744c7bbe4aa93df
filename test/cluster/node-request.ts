import { spawn } from 'node:child_process'
import { request as httpRequest } from 'node:http'
import { Duplex, type Readable, type Writable } from 'node:stream'
import { text } from 'node:stream/consumers'
import { connect as tlsConnect } from 'node:tls'

export interface NodeRequest {
  readonly method?: string
  readonly headers?: Readonly<Record<string, string | readonly string[]>>
  readonly body?: string
  /** Ends the request as a caller does who hangs up. */
  readonly signal?: AbortSignal
}

export interface NodeAnswer {
  readonly status: number
  /** Lower-case names; several of one name are joined by ", ". */
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

export interface Credentials {
  readonly ca: string
  readonly cert?: string
  readonly key?: string
}

/**
 * HTTP/1.1 through a command whose stdin and stdout are the connection, such as `socat STDIO TCP:…` in a node's
 * network. One request, one connection; the path is sent as it stands.
 */
export async function requestThrough(
  command: readonly [string, ...string[]],
  path: string,
  options: NodeRequest & { readonly tls?: Credentials & { readonly servername: string } },
): Promise<NodeAnswer> {
  const [program, ...args] = command
  const connection = spawn(program, args, { stdio: ['pipe', 'pipe', 'pipe'] })
  const complaint = text(connection.stderr)
  const plain = duplexOf(connection.stdout, connection.stdin)
  const socket = options.tls === undefined ? plain : tlsConnect({ socket: plain, ...options.tls })
  try {
    return await send(socket, path, options)
  } catch (cause) {
    connection.kill('SIGKILL')
    throw new Error(`Cannot send ${options.method ?? 'POST'} "${path}": ${String(cause)} ${await complaint}`.trim(), {
      cause,
    })
  } finally {
    // without this the far side would wait for the end of the connection
    connection.kill('SIGKILL')
  }
}

function send(
  socket: Duplex,
  path: string,
  { method = 'POST', headers, body, signal }: NodeRequest,
): Promise<NodeAnswer> {
  const { promise, resolve, reject } = Promise.withResolvers<NodeAnswer>()
  socket.on('error', reject)
  const request = httpRequest({
    createConnection: () => socket,
    path,
    method,
    ...(headers !== undefined && { headers: toMutable(headers) }),
    ...(signal !== undefined && { signal }),
  })
  request.on('error', reject)
  request.on('response', (response) => {
    const names = Object.entries(response.headers).map(([name, value]) => [name, String(value)])
    text(response).then(
      (answer) => resolve({ status: response.statusCode ?? 0, headers: Object.fromEntries(names), body: answer }),
      reject,
    )
  })
  request.end(body)
  return promise
}

function toMutable(headers: Readonly<Record<string, string | readonly string[]>>): Record<string, string | string[]> {
  return Object.fromEntries(
    Object.entries(headers).map(([name, value]) => [name, typeof value === 'string' ? value : [...value]]),
  )
}

/** `Duplex.from` accepts such a pair; its types name only web streams. */
function duplexOf(readable: Readable, writable: Writable): Duplex {
  return Duplex.from({ readable, writable } as unknown as NodeJS.ReadableStream)
}
