import { UnavailableError } from '../shared/errors.ts'

/** The API server cannot be asked, so nothing can be allowed. */
export class ApiServerError extends UnavailableError {
  /** Absent where there was no answer. */
  readonly status: number | undefined

  constructor(reason: string, { status, cause }: { readonly status?: number; readonly cause?: unknown } = {}) {
    super(`Cannot find out who you are and what you may do: ${reason}`, {
      code: 'AuthorizationUnavailable',
      hint: 'Ask again in a moment. While it lasts, the log of the agent and the state of the API server tell more.',
      cause,
    })
    this.status = status
  }
}
