import { readFile } from 'node:fs/promises'
import type { IncomingMessage } from 'node:http'
import { Agent, request } from 'node:https'
import { setTimeout as delay } from 'node:timers/promises'
import { isSystemError } from '../shared/errors.ts'
import type { Logger } from '../shared/logger.ts'
import { ApiServerError } from './api-server-error.ts'

export interface ApiServerOptions {
  /** `https://host:port` */
  readonly url: string
  /** Token file of the service account. The kubelet replaces it while the agent runs. */
  readonly tokenFile: string
  /** CA file of the API server, in PEM format. */
  readonly caFile: string
  readonly logger: Logger
  /** Timeout of one attempt. */
  readonly timeoutMs?: number
  readonly retryDelaysMs?: readonly number[]
}

/** The part of the client that reviews need. */
export interface ApiServer {
  /** Returns the parsed body of the response. Throws ApiServerError. */
  readonly send: (method: 'GET' | 'POST', path: string, body?: object) => Promise<unknown>
}

const TIMEOUT_MS = 10_000
const RETRY_DELAYS_MS = [200, 500, 1000]

/** Largest response accepted; responses to reviews are far smaller. */
const MAX_ANSWER_BYTES = 1024 * 1024

/** Requests that may wait at the same time. Further requests are refused immediately. */
const MAX_WAITING = 512
/**
 * Connections: one for every request that the token and permission queues run at the same time, and
 * one for the CAs.
 */
const MAX_SOCKETS = 17

/**
 * Time between reads of the token file. The kubelet replaces a token of one hour when a fifth of
 * its lifetime is left.
 */
const REREAD_MS = 10_000

/**
 * Failures worth a retry: a connection that the server had already closed, and the statuses for
 * which Kubernetes clients retry.
 */
const REPEATABLE_CODES = ['ECONNRESET', 'EPIPE'] as const
const REPEATABLE_STATUSES: ReadonlySet<number> = new Set([429, 500, 502, 503, 504])

interface Access {
  readonly token: string
  readonly ca: string
  readonly agent: Agent
  readonly readAt: number
}

interface Answer {
  readonly status: number
  readonly text: string
}

/** Sends requests to the API server as the agent's service account. */
export class ApiServerClient implements ApiServer {
  readonly #options: ApiServerOptions
  #access: Access | undefined
  #reading: Promise<Access> | undefined
  #waiting = 0
  #isClosed = false

  constructor(options: ApiServerOptions) {
    this.#options = options
  }

  async send(method: 'GET' | 'POST', path: string, body?: object): Promise<unknown> {
    if (this.#waiting >= MAX_WAITING) throw new ApiServerError('too many others wait for the API server already')
    this.#waiting++
    try {
      return await this.#sendPatiently(method, path, body)
    } finally {
      this.#waiting--
    }
  }

  close(): void {
    this.#isClosed = true
    this.#access?.agent.destroy()
  }

  async #sendPatiently(method: 'GET' | 'POST', path: string, body: object | undefined): Promise<unknown> {
    const text = body === undefined ? undefined : JSON.stringify(body)
    const delays = [...(this.#options.retryDelaysMs ?? RETRY_DELAYS_MS)]
    let hasReread = false
    for (;;) {
      const outcome = await this.#try(method, path, text)
      if ('value' in outcome) return outcome.value
      // The server's certificate or our token may have been replaced since the files were read.
      if (outcome.mayNeedFiles && !hasReread) {
        hasReread = true
        // The next attempt rereads the files, and reports an error if it cannot.
        if (this.#access !== undefined) this.#access = { ...this.#access, readAt: Number.NEGATIVE_INFINITY }
        continue
      }
      const pause = outcome.isRepeatable ? delays.shift() : undefined
      if (pause === undefined || this.#isClosed) {
        this.#options.logger.warn({ err: outcome.error.cause ?? outcome.error, path }, 'API server cannot be asked')
        throw outcome.error
      }
      // Clients that were refused together must not retry together.
      await delay(pause * (1 + Math.random() * 0.2))
    }
  }

  async #try(
    method: string,
    path: string,
    body: string | undefined,
  ): Promise<
    | { readonly value: unknown }
    | { readonly error: ApiServerError; readonly isRepeatable: boolean; readonly mayNeedFiles: boolean }
  > {
    try {
      const access = await this.#current()
      const answer = await this.#exchange(access, method, path, body)
      if (answer.status >= 200 && answer.status < 300) return { value: parseAnswer(answer) }
      const cause = new Error(`${method} ${path}: ${String(answer.status)} ${answer.text.slice(0, 500)}`)
      const error = new ApiServerError(`the API server answered with status ${String(answer.status)}`, {
        status: answer.status,
        cause,
      })
      return { error, isRepeatable: REPEATABLE_STATUSES.has(answer.status), mayNeedFiles: answer.status === 401 }
    } catch (cause) {
      if (cause instanceof ApiServerError) return { error: cause, isRepeatable: false, mayNeedFiles: false }
      return {
        // The cause names addresses and files, which callers must not see.
        error: new ApiServerError('the API server does not answer', { cause }),
        isRepeatable: isSystemError(cause, ...REPEATABLE_CODES),
        mayNeedFiles: isTlsError(cause),
      }
    }
  }

  #exchange(access: Access, method: string, path: string, body: string | undefined): Promise<Answer> {
    const { url, timeoutMs = TIMEOUT_MS } = this.#options
    return new Promise<Answer>((resolve, reject) => {
      const call = request(new URL(path, url), {
        method,
        agent: access.agent,
        headers: {
          authorization: `Bearer ${access.token}`,
          accept: 'application/json',
          ...(body !== undefined && {
            'content-type': 'application/json',
            'content-length': Buffer.byteLength(body),
          }),
        },
        // Covers the whole exchange: a stopped server process accepts connections and never
        // responds.
        signal: AbortSignal.timeout(timeoutMs),
      })
      call.on('error', reject)
      call.on('response', (response) => {
        readAll(response).then((text) => resolve({ status: response.statusCode ?? 0, text }), reject)
      })
      call.end(body)
    })
  }

  #current(): Access | Promise<Access> {
    const access = this.#access
    return access !== undefined && performance.now() - access.readAt < REREAD_MS ? access : this.#read()
  }

  #read(): Promise<Access> {
    this.#reading ??= this.#readFiles().finally(() => {
      this.#reading = undefined
    })
    return this.#reading
  }

  async #readFiles(): Promise<Access> {
    const { tokenFile, caFile } = this.#options
    const [token, ca] = await Promise.all([readFile(tokenFile, 'utf8'), readFile(caFile, 'utf8')]).catch(
      (cause: unknown) => {
        throw new ApiServerError("the agent's own token or authority for the API server cannot be read", { cause })
      },
    )
    const before = this.#access
    const isSameCa = before?.ca === ca
    const agent = isSameCa ? before.agent : makeAgent(ca)
    if (!isSameCa) endLater(before?.agent)
    this.#access = { token: token.trim(), ca, agent, readAt: performance.now() }
    return this.#access
  }
}

function makeAgent(ca: string): Agent {
  return new Agent({ ca, keepAlive: true, maxSockets: MAX_SOCKETS, minVersion: 'TLSv1.2', scheduling: 'lifo' })
}

/** Closes the old agent later, so that requests in flight can finish. */
function endLater(agent: Agent | undefined): void {
  if (agent !== undefined) setTimeout(() => agent.destroy(), TIMEOUT_MS).unref()
}

async function readAll(response: IncomingMessage): Promise<string> {
  const pieces: Buffer[] = []
  let size = 0
  for await (const piece of response as AsyncIterable<Buffer>) {
    size += piece.length
    if (size > MAX_ANSWER_BYTES) throw new Error(`the answer is larger than ${String(MAX_ANSWER_BYTES)} bytes`)
    pieces.push(piece)
  }
  return Buffer.concat(pieces).toString()
}

function parseAnswer({ text }: Answer): unknown {
  try {
    return JSON.parse(text)
  } catch (cause) {
    throw new ApiServerError('the API server answered with something that is no JSON', { cause })
  }
}

/** Recognizes the certificate errors of OpenSSL and the host name errors of Node.js. */
function isTlsError(error: unknown): boolean {
  if (!(error instanceof Error) || !('code' in error)) return false
  const code = String(error.code)
  return /CERT|SIGNATURE|ERR_TLS|ERR_SSL/.test(code)
}
