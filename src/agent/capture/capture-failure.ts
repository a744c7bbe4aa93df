import type { CaptureFailure } from '../../checkpoint/capture-job.ts'
import { goErrorText } from '../../runtime/cri-connection.ts'
import { AgentError, errorText, isSystemError } from '../../shared/errors.ts'
import { explainDiskError } from './publish.ts'

/** Reports that an archive could not be published although it is whole, or may be. It must stay in staging. */
export class ArchiveKeptError extends Error {
  constructor(cause: unknown) {
    super(errorText(cause), { cause })
    this.name = 'ArchiveKeptError'
  }
}

/** Converts any error of a capture to the form that is stored and shown. */
export function toCaptureFailure(thrown: unknown): CaptureFailure {
  if (thrown instanceof ArchiveKeptError) return keptInStaging(thrown.cause)
  const error = explainDiskError(thrown)
  if (error instanceof AgentError) {
    const kubeletText = goErrorText(error)
    return {
      code: error.code,
      detail: error.message,
      ...(error.hint !== undefined && { hint: error.hint }),
      ...(error.runtimeMessage !== undefined && { runtimeMessage: error.runtimeMessage }),
      ...(kubeletText !== undefined && { kubeletText }),
    }
  }
  if (isSystemError(error, 'EROFS', 'EACCES', 'EPERM', 'EIO')) {
    return {
      code: 'LocationNotWritable',
      detail: `Cannot write into the checkpoint directory: ${String(error.code)}`,
      hint: 'See that its file system is writable and healthy, and what the kernel log says of it.',
    }
  }
  return {
    code: 'InternalError',
    detail: errorText(error),
    hint: 'This is a defect of the agent: please report it with its log.',
  }
}

function keptInStaging(cause: unknown): CaptureFailure {
  const failure = toCaptureFailure(cause)
  const known = failure.code === 'InternalError' ? explainOtherSystemError(cause) : undefined
  const { detail, hint = '', ...rest } = known ?? failure
  return {
    ...rest,
    detail: `${detail}; the archive is kept in the staging directory`,
    hint: `${hint} The agent publishes the archive when it is started again.`.trimStart(),
    isArchiveKept: true,
  }
}

function explainOtherSystemError(error: unknown): CaptureFailure | undefined {
  if (!(error instanceof Error) || !('syscall' in error)) return undefined
  return {
    code: 'LocationNotWritable',
    detail: `Cannot write into the checkpoint directory: ${errorText(error)}`,
    hint: 'See what the checkpoint directory is on the node, and that its file system is healthy.',
  }
}

export const CANCELLED: CaptureFailure = {
  code: 'CaptureCancelled',
  detail: 'the capture was cancelled before its archive was whole',
  hint: 'Ask again if the checkpoint is still wanted.',
}

export const TIMED_OUT: CaptureFailure = {
  code: 'CaptureTimedOut',
  detail: 'the runtime did not finish within capture.maxDuration, and the capture was cancelled',
  hint: 'See how large the container is and how busy the disk; raise capture.maxDuration if it needs longer.',
}

export const SHUT_DOWN: CaptureFailure = {
  code: 'ShuttingDown',
  detail: 'the agent was stopped before the capture was done',
  hint: 'Ask again when the agent has been started anew; shutdown.captureGrace sets how long a stop waits.',
}

export const RESTARTED_BEFORE_BEGIN: CaptureFailure = {
  code: 'AgentRestarted',
  detail: 'the agent ended while the capture was still waiting; nothing was done to the container',
  hint: 'Ask again if the checkpoint is still wanted.',
}

export const KEPT_ARCHIVE_GONE: CaptureFailure = {
  code: 'ArchiveGone',
  detail: 'the archive that had been kept in the staging directory is not there any more, or not whole',
  hint: 'See who took it away; take the checkpoint anew if it is still wanted.',
}

export const OUTCOME_UNKNOWN: CaptureFailure = {
  code: 'AgentRestarted',
  detail: 'the agent ended during the capture, and no whole archive was left',
  hint: 'The container was watched until it ran again; take the checkpoint anew.',
}
