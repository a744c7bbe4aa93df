import { UnavailableError } from '../shared/errors.ts'

/** Reports that a file of the log was moved or removed. */
export class LogFileGoneError extends Error {}

/** Distinguishes a failing disk from an error in the agent. An operator can fix only the former. */
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
