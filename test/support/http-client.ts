import { request } from 'node:http'

export interface HttpAnswer {
  readonly status: number
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>
  readonly text: string
  /** The body as JSON, of the type that the test takes it for; throws when it is none. */
  // oxlint-disable-next-line typescript/no-unnecessary-type-parameters -- shorter than an assertion in each test
  json<Body = unknown>(): Body
}

export interface HttpRequestOptions {
  readonly headers?: Readonly<Record<string, string>>
  /** Sent as JSON. */
  readonly body?: unknown
  /** Leaves when it aborts, as a caller that hangs up. */
  readonly signal?: AbortSignal
}

export type HttpTarget = { readonly port: number } | { readonly socketPath: string }

/** One request on a connection of its own. */
export async function sendRequest(
  target: HttpTarget,
  method: string,
  path: string,
  { headers = {}, body, signal }: HttpRequestOptions = {},
): Promise<HttpAnswer> {
  const payload = body === undefined ? undefined : Buffer.from(JSON.stringify(body))
  return await new Promise<HttpAnswer>((resolve, reject) => {
    const sent = request(
      {
        ...('port' in target ? { host: '127.0.0.1', port: target.port } : { socketPath: target.socketPath }),
        method,
        path,
        agent: false,
        headers: {
          ...(payload !== undefined && { 'content-type': 'application/json', 'content-length': payload.length }),
          ...headers,
        },
        ...(signal !== undefined && { signal }),
      },
      (answer) => {
        const chunks: Buffer[] = []
        answer.on('data', (chunk: Buffer) => chunks.push(chunk))
        answer.on('error', reject)
        answer.on('end', () => {
          const text = Buffer.concat(chunks).toString()
          resolve({
            status: answer.statusCode ?? 0,
            headers: Object.fromEntries(Object.entries(answer.headers).map(([name, value]) => [name, String(value)])),
            text,
            // oxlint-disable-next-line typescript/no-unnecessary-type-parameters -- as declared
            json: <Body>() => JSON.parse(text) as Body,
          })
        })
      },
    )
    sent.on('error', reject)
    sent.end(payload)
  })
}
