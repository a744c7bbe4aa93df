import { UnavailableError } from '../shared/errors.ts'

/** A file of the log is not where it was a moment ago. */
export class LogFileGoneError extends Error {}

/** Tells a failing disk from an error in the agent: only the first is for an operator to mend. */
export function isDiskFailure(error: unknown): boolean {
  if (error instanceof LogFileGoneError) return true
  return error instanceof Error && 'code' in error && /^E(?!RR_)[A-Z0-9]+$/.test(String(error.code))
}

export function stackOf(error: unknown): string | undefined {
  return error instanceof Error ? error.stack : undefined
}

export function cannotWrite(what: string, hint: string, cause?: unknown): UnavailableError {
  return new UnavailableError(`Cannot write the custody log: ${what}`, {
    code: 'CustodyUnavailable',
    hint,
    ...(cause !== undefined && { cause }),
  })
}
