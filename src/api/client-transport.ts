import { z } from 'zod'
import { mediaTypeOf, parseJson, toApiError, UnexpectedAnswerError } from './api-error.ts'
import { readText } from './byte-lines.ts'
import type { Answer, Operation } from './operation.ts'

/** The part of the global `fetch` that the client uses. */
export type Fetch = (url: string, init: RequestInit) => Promise<Response>

export interface ClientOptions {
  /** The address of the API, such as `https://node-a:9443`. It may have a path; in a browser it may be empty. */
  readonly baseUrl: string
  /** Stands in for the global `fetch`: for a unix socket, a CA, a client certificate or other time limits. */
  readonly fetch?: Fetch
  /** A bearer token, or a function that is asked for one before each request. */
  readonly token?: string | (() => string | Promise<string>)
  /** The largest answer that is read as a whole, in bytes. The default is 64 MiB. Streams have no limit. */
  readonly maxAnswerBytes?: number
  /** Sent with every request. */
  readonly headers?: Readonly<Record<string, string>>
}

const MAX_ANSWER_BYTES = 64 * 1024 * 1024

/** One call of an operation. */
export interface Call {
  readonly path?: Readonly<Record<string, string>>
  readonly query?: QueryValues | undefined
  readonly headers?: Readonly<Record<string, string | undefined>>
  readonly body?: unknown
  readonly signal?: AbortSignal | undefined
  /** Asks for the headers alone. */
  readonly isHead?: boolean
}

export type QueryValues = Readonly<Record<string, string | number | boolean | readonly string[] | undefined>>

/** The body of the answer with status 200. */
export type JsonOf<Called> = Called extends { readonly answers: { readonly 200: { readonly schema: infer Schema } } }
  ? z.output<Schema>
  : never

/** Sends requests and sorts their answers: what an operation promises is returned, everything else is thrown. */
export class ClientTransport {
  readonly #baseUrl: string
  readonly #fetch: Fetch
  readonly #token: ClientOptions['token']
  readonly #headers: Readonly<Record<string, string>>
  readonly #maxAnswerBytes: number

  constructor(options: ClientOptions) {
    const { baseUrl, fetch = globalThis.fetch, token, headers = {}, maxAnswerBytes = MAX_ANSWER_BYTES } = options
    this.#baseUrl = baseUrl.replace(/\/+$/, '')
    // Called as a method of anything else, the fetch of a browser throws.
    this.#fetch = (url, init) => fetch(url, init)
    this.#token = token
    this.#headers = headers
    this.#maxAnswerBytes = maxAnswerBytes
  }

  /** Throws ApiError unless the answer is a success, a 304, or a failure whose JSON the operation describes. */
  async send(operation: Operation, call: Call = {}): Promise<Response> {
    const { path = {}, query = {}, body, signal, isHead = false } = call
    const method = isHead ? 'HEAD' : operation.method.toUpperCase()
    const response = await this.#fetch(`${this.#baseUrl}${expandPath(operation.path, path)}${formatQuery(query)}`, {
      method,
      headers: await this.#headersOf(call),
      ...(body !== undefined && { body: JSON.stringify(body) }),
      ...(signal !== undefined && { signal }),
    })
    const answer = operation.answers[response.status]
    if (response.ok || response.status === 304 || isJson(answer)) return response
    const isTextPromised = answer?.mediaType === 'text/plain'
    throw toApiError(response, await this.text(response), { what: `${method} ${operation.path}`, isTextPromised })
  }

  /** The JSON of the answer, checked against the schema of its status. Fields that the schema does not know stay. */
  async json<const Called extends Operation>(operation: Called, call: Call = {}): Promise<JsonOf<Called>> {
    return (await this.readJson(operation, await this.send(operation, call))) as JsonOf<Called>
  }

  /** Reads an answer to its end. Throws RangeError when it is too large. */
  async text(response: Response): Promise<string> {
    return await readText(response.body, this.#maxAnswerBytes)
  }

  /** Reads the JSON that the operation promises for the status of this answer. */
  async readJson(operation: Operation, response: Response): Promise<unknown> {
    const body = parseJson(await this.text(response))
    const what = `read the answer to ${operation.method.toUpperCase()} ${operation.path}`
    const schema = operation.answers[response.status]?.schema
    if (schema === undefined || body === undefined) {
      const reason = `status ${response.status}, media type "${mediaTypeOf(response)}"`
      throw new UnexpectedAnswerError(`Cannot ${what}: it is not the JSON that the API promises (${reason})`, response)
    }
    const parsed = schema.safeParse(body)
    if (parsed.success) return body
    const reason = z.prettifyError(parsed.error)
    throw new UnexpectedAnswerError(`Cannot ${what}: ${reason}`, response, { cause: parsed.error })
  }

  async #headersOf({ headers = {}, body }: Call): Promise<Record<string, string>> {
    const token = typeof this.#token === 'function' ? await this.#token() : this.#token
    const given = Object.entries(headers).flatMap(([name, value]) => (value === undefined ? [] : [[name, value]]))
    return {
      ...this.#headers,
      ...(token !== undefined && { Authorization: `Bearer ${token}` }),
      ...(body !== undefined && { 'Content-Type': 'application/json' }),
      ...(Object.fromEntries(given) as Record<string, string>),
    }
  }
}

function isJson(answer: Answer | undefined): boolean {
  return answer?.schema !== undefined && (answer.mediaType ?? 'application/json') === 'application/json'
}

/** Fills in the parameters of a path template. */
export function expandPath(template: string, parameters: Readonly<Record<string, string>>): string {
  return template.replaceAll(/\{(\w+)\}/g, (_, name: string) => {
    const value = parameters[name] ?? ''
    if (value === '' || value === '.' || value === '..') {
      throw new TypeError(`Cannot call ${template}: "${value}" cannot stand for {${name}}`)
    }
    return name === 'name' ? encodeMemberName(value) : encodeURIComponent(value)
  })
}

/** Keeps slashes, unless that gives segments that URL parsers and servers take out of a path. */
function encodeMemberName(value: string): string {
  const segments = value.split('/')
  const isPlain = segments.every((segment) => segment !== '' && segment !== '.' && segment !== '..')
  return isPlain ? segments.map((segment) => encodeURIComponent(segment)).join('/') : encodeURIComponent(value)
}

function formatQuery(query: QueryValues): string {
  const parameters = new URLSearchParams()
  for (const [name, value] of Object.entries(query)) {
    if (value === undefined) continue
    for (const each of Array.isArray(value) ? value : [value]) parameters.append(name, String(each))
  }
  return parameters.size === 0 ? '' : `?${parameters.toString()}`
}
