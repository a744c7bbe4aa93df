import { problem, type Problem } from './problem-schema.ts'

/** The base of what the client throws when the server's answer is not the one that was asked for. */
export abstract class ApiError extends Error {
  readonly status: number
  /** The id of the request in the log of the server. */
  readonly requestId: string | undefined
  /** The wait that the server asks for before the next attempt. */
  readonly retryAfterSeconds: number | undefined

  constructor(message: string, response: Response, options?: ErrorOptions) {
    super(message, options)
    this.name = new.target.name
    this.status = response.status
    this.requestId = response.headers.get('x-request-id') ?? undefined
    this.retryAfterSeconds = parseRetryAfter(response.headers.get('retry-after'))
  }
}

const COMMON_FIELDS: ReadonlySet<string> = new Set(Object.keys(problem.shape))

/** A problem document of the API. Its message is the detail; match on the code. */
export class ProblemError extends ApiError {
  /** Stable: match on this one. */
  readonly code: string
  /** The next step. */
  readonly hint: string | undefined
  readonly runtimeMessage: string | undefined
  /** The permission that the caller lacks, of a 403. */
  readonly missingPermission: Problem['missingPermission']
  /** Fields of this code alone, such as the `job` that is in the way. */
  readonly extra: Readonly<Record<string, unknown>>

  constructor(body: Problem, response: Response) {
    super(body.detail, response)
    const { code, hint, runtimeMessage, missingPermission } = body
    this.code = code
    this.hint = hint
    this.runtimeMessage = runtimeMessage
    this.missingPermission = missingPermission
    this.extra = Object.fromEntries(Object.entries(body).filter(([name]) => !COMMON_FIELDS.has(name)))
  }
}

/** A failure that the server reports as plain text: the kubelet's endpoint does. */
export class TextError extends ApiError {}

/** An answer that the API does not promise, such as one of a proxy on the way, or a failed HEAD, which has no body. */
export class UnexpectedAnswerError extends ApiError {}

/** A call that failed, for its message. */
export interface FailedCall {
  readonly what: string
  /** Set where the operation promises its failures as plain text. */
  readonly isTextPromised: boolean
}

/** The part of an unexpected answer that its error quotes, in characters. */
const MAX_QUOTED = 300

/** Turns the answer to a failed call into its error. */
export function toApiError(response: Response, text: string, call: FailedCall): ApiError {
  const { what, isTextPromised } = call
  const mediaType = mediaTypeOf(response)
  if (mediaType === 'application/problem+json') {
    const parsed = problem.safeParse(parseJson(text))
    if (parsed.success) return new ProblemError(parsed.data, response)
  }
  if (mediaType === 'text/plain' && isTextPromised) return new TextError(text.trim(), response)
  if (text === '') return new UnexpectedAnswerError(`Cannot ${what}: status ${response.status}`, response)
  const quoted = text.length > MAX_QUOTED ? `${text.slice(0, MAX_QUOTED)}…` : text
  const reason = `status ${response.status}, media type "${mediaType}"`
  return new UnexpectedAnswerError(`Cannot ${what}: the answer is not of this API (${reason}): ${quoted}`, response)
}

export function mediaTypeOf(response: Response): string {
  return (response.headers.get('content-type') ?? '').split(';', 1)[0]?.trim().toLowerCase() ?? ''
}

/** Parses JSON; undefined where the text is none. */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** Seconds, or a date (RFC 9110, 10.2.3). */
function parseRetryAfter(value: string | null): number | undefined {
  if (value === null) return undefined
  if (/^\d{1,9}$/.test(value)) return Number(value)
  const date = Date.parse(value)
  return Number.isNaN(date) ? undefined : Math.max(0, Math.ceil((date - Date.now()) / 1000))
}
