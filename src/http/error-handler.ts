import type { ErrorRequestHandler, RequestHandler, Response } from 'express'
import {
  AgentError,
  CallerLeftError,
  ConflictError,
  InvalidInputError,
  NotAllowedError,
  NotAuthenticatedError,
  NotFoundError,
  OutOfSpaceError,
  RuntimeFailureError,
  UnavailableError,
  UnprocessableError,
} from '../shared/errors.ts'
import type { Logger } from '../shared/logger.ts'
import { escapeInJson, escapeLines } from '../shared/readable-text.ts'
import { findErrorCode } from '../api/error-codes.ts'
import type { Problem } from '../api/problem-schema.ts'
import { STATUS_CODES } from './node-http.ts'
import { retryAfterSeconds } from './retry-after.ts'
import { shownText } from './shown-text.ts'

const STATUS_BY_ERROR = [
  [InvalidInputError, 400],
  [NotAuthenticatedError, 401],
  [NotAllowedError, 403],
  [NotFoundError, 404],
  [ConflictError, 409],
  [UnprocessableError, 422],
  [RuntimeFailureError, 500],
  [UnavailableError, 503],
  [OutOfSpaceError, 507],
] as const

/**
 * A capture that a client waited for has failed. The route throws it, and the error handler maps it like any other
 * error.
 */
export class CaptureFailedError extends AgentError {}

/** Maps errors to responses; no other code maps an error to a status. */
export function errorHandler(logger: Logger): ErrorRequestHandler {
  return (thrown: unknown, req, res, next) => {
    if (res.headersSent) {
      next(thrown)
      return
    }
    if (thrown instanceof CallerLeftError || (res.destroyed && isAbortError(thrown))) {
      // The client has disconnected, so no response can be sent.
      res.destroy()
      return
    }
    const error = asAgentError(thrown)
    if (error === undefined) {
      logger.error({ err: thrown, requestId: res.get('x-request-id'), method: req.method }, 'Request failed')
      sendProblem(res, {
        ...problemType('InternalError', 500),
        detail: 'The agent met an error of its own; its log tells more under the request id of this answer',
      })
      return
    }
    const status = statusOf(error)
    const retryAfter = findErrorCode(error.code)?.retryAfterSeconds
    if (retryAfter !== undefined) {
      res.set('Retry-After', String(status === 429 ? retryAfterSeconds(retryAfter) : retryAfter))
    }
    if (error instanceof NotAuthenticatedError) res.set('WWW-Authenticate', 'Bearer realm="checkpoint-agent"')
    sendProblem(res, {
      ...error.extra,
      ...problemType(error.code, status),
      ...shownFailure(error, { isOurs: status >= 500 || error instanceof CaptureFailedError }),
    })
  }
}

/** Rejects requests for paths that no route serves. */
export function unknownRoute(): RequestHandler {
  return (req) => {
    throw new NotFoundError(`Cannot find "${req.path}": there is no such route`, {
      code: 'RouteNotFound',
      hint: 'See GET /openapi.json for the routes of this agent.',
    })
  }
}

/** Rejects methods that a path does not support. */
export function otherMethods(allowed: readonly string[]): RequestHandler {
  return (req, res) => {
    res.set('Allow', allowed.join(', '))
    throw new InvalidInputError(`Cannot ${req.method} "${req.path}": this route knows ${allowed.join(' and ')}`, {
      code: 'MethodNotAllowed',
    })
  }
}

/**
 * Redacts an error for the client. Errors about a request quote the request, so its paths stay; errors of the agent
 * quote the node, so paths are redacted.
 */
function shownFailure(
  { message, hint, runtimeMessage }: AgentError,
  { isOurs }: { readonly isOurs: boolean },
): Pick<Problem, 'detail' | 'hint' | 'runtimeMessage'> {
  const shown = isOurs ? shownText : escapeLines
  return {
    detail: shown(message),
    hint: hint && shown(hint),
    runtimeMessage: runtimeMessage && shownText(runtimeMessage),
  }
}

function statusOf(error: AgentError): number {
  return findErrorCode(error.code)?.status ?? STATUS_BY_ERROR.find(([type]) => error instanceof type)?.[1] ?? 500
}

function isAbortError(thrown: unknown): boolean {
  return thrown instanceof Error && thrown.name === 'AbortError'
}

/** Converts errors of Express and its body parser about invalid requests. Returns undefined for any other error. */
function asAgentError(thrown: unknown): AgentError | undefined {
  if (thrown instanceof AgentError) return thrown
  if (!(thrown instanceof Error)) return undefined
  const { type, status } = thrown as { readonly type?: unknown; readonly status?: unknown }
  if (type === 'entity.too.large') {
    return new InvalidInputError('Cannot read the request body: it is too large', { code: 'BodyTooLarge' })
  }
  if (type === 'entity.parse.failed') return invalidRequest('Cannot read the request body: it is not JSON')
  if (type === 'charset.unsupported' || type === 'encoding.unsupported') {
    return new InvalidInputError('Cannot read the request body: it is neither plain nor UTF-8', {
      code: 'UnsupportedMediaType',
    })
  }
  if (thrown instanceof URIError) return invalidRequest('Cannot read the path: it is no percent-encoded UTF-8')
  return status === 400 ? invalidRequest('Cannot read the request: it is not whole') : undefined
}

function invalidRequest(message: string): AgentError {
  return new InvalidInputError(message, { code: 'InvalidRequest' })
}

function problemType(code: string, status: number): Pick<Problem, 'type' | 'title' | 'status' | 'code'> {
  return { type: `urn:checkpoint-agent:problem:${code}`, title: STATUS_CODES[status] ?? 'Error', status, code }
}

function sendProblem(res: Response, body: Problem): void {
  res
    .status(body.status)
    .type('application/problem+json')
    .send(escapeInJson(JSON.stringify(body)))
}
