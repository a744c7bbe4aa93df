import type { IncomingMessage } from 'node:http'
import { Agent, request } from 'node:https'

export interface ClientAnswer {
  readonly status: number
  readonly body: Buffer
}

export interface ClientRequest {
  readonly body?: unknown
  /** Leaves after this, as a caller that hangs up. */
  readonly leavesAfterMs?: number
  /** Bodies beyond it are read and thrown away. */
  readonly keepBytes?: number
}

const GIVES_UP_MS = 15_000
const HANGS_MS = 8_000

/** One user of the agent's TLS port, with some connections that stay open. */
export class AttackClient {
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 200, rejectUnauthorized: false })
  readonly #port: number
  readonly #token: string

  constructor(port: number, token: string) {
    this.#port = port
    this.#token = token
  }

  /** The status is 0 where there is no whole answer. */
  async send(method: string, path: string, options: ClientRequest = {}): Promise<ClientAnswer> {
    const { keepBytes = 64 * 1024 * 1024 } = options
    const chunks: Buffer[] = []
    let kept = 0
    const status = await new Promise<number>((resolve) => {
      const sent = this.#request(method, path, options, (answer) => {
        answer.on('data', (chunk: Buffer) => {
          if (kept < keepBytes) chunks.push(chunk)
          kept += chunk.length
        })
        answer.on('close', () => resolve(answer.complete ? (answer.statusCode ?? 0) : 0))
      })
      sent.on('error', () => resolve(0))
    })
    return { status, body: Buffer.concat(chunks) }
  }

  /** Begins an answer and reads nothing of it; the result ends the connection. */
  async hang(path: string): Promise<() => void> {
    return new Promise((resolve) => {
      const sent = this.#request('GET', path, { leavesAfterMs: HANGS_MS }, (answer) => {
        answer.pause()
        resolve(() => sent.destroy())
      })
      sent.on('error', () => resolve(() => {}))
    })
  }

  close(): void {
    this.#agent.destroy()
  }

  #request(
    method: string,
    path: string,
    { body, leavesAfterMs }: ClientRequest,
    onAnswer: (answer: IncomingMessage) => void,
  ) {
    const payload = body === undefined ? undefined : Buffer.from(JSON.stringify(body))
    const headers = {
      authorization: `Bearer ${this.#token}`,
      ...(payload !== undefined && { 'content-type': 'application/json', 'content-length': payload.length }),
    }
    const signal = AbortSignal.timeout(leavesAfterMs ?? GIVES_UP_MS)
    const options = { host: '127.0.0.1', port: this.#port, method, path, headers, agent: this.#agent, signal }
    return request({ ...options, rejectUnauthorized: false }, onAnswer)
      .on('error', () => {})
      .end(payload)
  }
}
