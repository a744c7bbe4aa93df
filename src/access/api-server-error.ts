import { UnavailableError } from '../shared/errors.ts'

/** Reports that the API server could not answer, so that nothing can be allowed. */
export class ApiServerError extends UnavailableError {
  /** HTTP status; absent if there was no response. */
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
