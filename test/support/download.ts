import { request, type IncomingMessage } from 'node:http'

export interface Download {
  readonly status: number
  /** Names in lower case; without `Date` and the id of the request, which differ each time. */
  readonly headers: Readonly<Record<string, string>>
  readonly body: Buffer
  /** False when the connection ended before the answer did. */
  readonly isWhole: boolean
}

export interface DownloadOptions {
  readonly method?: 'GET' | 'HEAD'
  readonly headers?: Readonly<Record<string, string>>
}

/** One request on a connection of its own; its body as it comes, nothing is unpacked. */
export async function download(url: string, options: DownloadOptions = {}): Promise<Download> {
  const answer = await openDownload(url, options)
  const chunks: Buffer[] = []
  let isWhole = true
  try {
    for await (const chunk of answer) chunks.push(chunk as Buffer)
  } catch {
    isWhole = false
  }
  const { date: _, 'x-request-id': __, ...headers } = answer.headers
  return {
    status: answer.statusCode ?? 0,
    headers: Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, String(value)])),
    body: Buffer.concat(chunks),
    isWhole: isWhole && answer.complete,
  }
}

/** Resolves with the headers; the body waits until it is read. */
export async function openDownload(
  url: string,
  { method = 'GET', headers = {} }: DownloadOptions = {},
): Promise<IncomingMessage> {
  return await new Promise((resolve, reject) => {
    const sent = request(url, { method, headers, agent: false }, resolve)
    sent.on('error', reject)
    sent.end()
  })
}
