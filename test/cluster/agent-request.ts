import type { DifferenceKey } from './agent-differences.ts'

/** One request for both sides. In its texts NODE is "a" or "b", OTHER the other one. */
export interface ComparedRequest {
  readonly name: string
  /** As it goes over the wire, a character for each byte; "Connection: close" is added by `toBytes`. */
  readonly head: readonly string[]
  readonly body?: string
  /** The kubelet is asked without a client certificate. */
  readonly anonymous?: boolean
  readonly recorded?: Recorded
  /** How each answer begins where they are meant to differ: the status, then the body or the code of our problem. */
  readonly differs?: { readonly in: DifferenceKey; readonly kubelet: string; readonly agent: string }
}

export interface Recorded {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

export const POD = '/checkpoint/shop/web-node-NODE'
export const RUNNING = `${POD}/counter`
/** Passes every check of the request, and is answered without a dump. */
export const CRASHED = `${POD}/crash`
export const NOT_RUNNING = '500 checkpointing of shop/web-node-NODE/crash failed (container crash not found)'

export interface RequestParts {
  readonly method?: string
  readonly headers?: readonly string[]
  readonly body?: string
  readonly anonymous?: boolean
  readonly differs?: NonNullable<ComparedRequest['differs']>
}

export function request(
  name: string,
  path: string,
  { method = 'POST', headers: lines = [], ...rest }: RequestParts = {},
): ComparedRequest {
  return { name, head: [`${method} ${path} HTTP/1.1`, 'Host: localhost', ...lines], ...rest }
}

export function toBytes({ head, body }: ComparedRequest): Buffer {
  const [requestLine = '', ...fields] = head
  const lines = [requestLine, 'Connection: close', ...fields]
  if (body !== undefined && !fields.some((line) => /^(content-length|transfer-encoding):/i.test(line)))
    lines.push(`Content-Length: ${Buffer.byteLength(body)}`)
  return Buffer.from(`${lines.join('\r\n')}\r\n\r\n${body ?? ''}`, 'latin1')
}
