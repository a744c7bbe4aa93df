/** What a failure carries for the person who has to act on it. */
export interface FailureDetails {
  /** Stable name, part of the API: clients and alerts match on it. */
  readonly code: string
  /** The next step. */
  readonly hint?: string
  /** The runtime's own words, already cut to a bounded length. */
  readonly runtimeMessage?: string
  /** Further fields of the answer, such as the id of the job that is in the way. */
  readonly extra?: Readonly<Record<string, unknown>>
  readonly cause?: unknown
}

/** Base of all errors that a caller can do something about. Anything else that is thrown is a bug. */
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

/** The request or setting itself is wrong; repeating it will not help. */
export class InvalidInputError extends AgentError {}

/** What was asked for does not exist here. */
export class NotFoundError extends AgentError {}

/** It exists, but is not in a state that allows this. */
export class ConflictError extends AgentError {}

/** It exists and is well asked for, but cannot be done with it: repeating the request will not help. */
export class UnprocessableError extends AgentError {}

/** Nobody knows who the caller is. */
export class NotAuthenticatedError extends AgentError {}

/** The caller may not do this. */
export class NotAllowedError extends AgentError {}

/** Not now: something that the agent depends on is missing, full or busy. */
export class UnavailableError extends AgentError {}

/** There is no room for it on the disk. */
export class OutOfSpaceError extends AgentError {}

/** The runtime was asked and failed. */
export class RuntimeFailureError extends AgentError {}

/** Nobody is there any more to be answered; no fault of ours. */
export class CallerLeftError extends Error {
  constructor(cause?: unknown) {
    super('the caller left', { cause })
    this.name = 'CallerLeftError'
  }
}

/** The text of anything that was thrown. */
export function errorText(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

/** Whether a system call failed with one of these codes (`ENOENT`, …). */
export function isSystemError(error: unknown, ...codes: readonly string[]): error is NodeJS.ErrnoException {
  return error instanceof Error && 'code' in error && codes.includes(String(error.code))
}
