import { once } from 'node:events'
import { type IncomingMessage, request } from 'node:http'
import { text } from 'node:stream/consumers'

export interface Answer {
  readonly status: number
  readonly body: string
}

/** Over the unix socket: no proxy of the environment gets in between. */
export async function askAgent(
  socketPath: string,
  method: 'GET' | 'POST',
  path: string,
  signal?: AbortSignal,
): Promise<Answer> {
  const options = { socketPath, method, path, agent: false, ...(signal !== undefined && { signal }) }
  const asked = request(options)
  asked.end()
  const [response] = (await once(asked, 'response')) as [IncomingMessage]
  return { status: response.statusCode ?? 0, body: await text(response) }
}
