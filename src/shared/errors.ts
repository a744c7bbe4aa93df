/** Details of a failure for the person who has to act on it. */
export interface FailureDetails {
  /** Stable name, part of the API: clients and alerts match on it. */
  readonly code: string
  /** The exact next step. */
  readonly hint?: string
  /** The runtime's own text, already shortened to a bounded length. */
  readonly runtimeMessage?: string
  /** Further fields of the response, such as the id of the conflicting job. */
  readonly extra?: Readonly<Record<string, unknown>>
  readonly cause?: unknown
}

/** Base class of all errors that a caller can act on. Any other error is a bug. */
export abstract class AgentError extends Error {
  readonly code: string
  readonly hint: string | undefined
  readonly runtimeMessage: string | undefined
  readonly extra: Readonly<Record<string, unknown>>

  constructor(message: string, details: FailureDetails) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause })
    this.name = new.target.name
    this.code = details.code
    this.hint = details.hint
    this.runtimeMessage = details.runtimeMessage
    this.extra = details.extra ?? {}
  }
}

/** The request or setting is not valid. Repeating it does not help. */
export class InvalidInputError extends AgentError {}

/** The requested object does not exist on this node. */
export class NotFoundError extends AgentError {}

/** The object exists, but its state does not allow the action. */
export class ConflictError extends AgentError {}

/**
 * The request is valid, but the action is not possible on this object. Repeating it does not help.
 */
export class UnprocessableError extends AgentError {}

/** The caller has not authenticated. */
export class NotAuthenticatedError extends AgentError {}

/** The caller lacks the permission. */
export class NotAllowedError extends AgentError {}

/** A dependency of the agent is missing, full or busy. Repeating the request later may help. */
export class UnavailableError extends AgentError {}

/** The disk has no space for the result. */
export class OutOfSpaceError extends AgentError {}

/** The container runtime reported a failure. */
export class RuntimeFailureError extends AgentError {}

/** The caller disconnected before the response; not an error of the agent. */
export class CallerLeftError extends Error {
  constructor(cause?: unknown) {
    super('the caller left', { cause })
    this.name = 'CallerLeftError'
  }
}

/** Returns the message of any thrown value. */
export function errorText(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

/** Checks whether a system call failed with one of these codes (`ENOENT`, …). */
export function isSystemError(error: unknown, ...codes: readonly string[]): error is NodeJS.ErrnoException {
  return error instanceof Error && 'code' in error && codes.includes(String(error.code))
}
