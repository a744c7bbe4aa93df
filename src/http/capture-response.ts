import {
  isFinal,
  jobState,
  type CaptureFailure,
  type CaptureJob,
  type ContainerCapture,
} from '../checkpoint/capture-job.ts'
import type {
  CaptureErrorResponse,
  CaptureJobResponse,
  CaptureResult,
  ContainerCaptureResponse,
} from '../api/capture-schemas.ts'
import type { CheckpointResponse } from '../api/checkpoint-schemas.ts'
import { CaptureFailedError } from './error-handler.ts'
import { toIdentity } from './identity-response.ts'
import { shownText } from './shown-text.ts'

/** Converts a capture job for the API. Every field is listed explicitly, so that internal fields never leak. */
export function toJobResponse(job: CaptureJob): CaptureJobResponse {
  const state = jobState(job)
  const { captures } = job
  const [first] = captures
  if (first === undefined) throw new Error(`Capture job "${job.id}" has no container`)
  const started = earliest(captures.map(({ startedAt }) => startedAt))
  const finished = isFinal(state) ? latest(captures.map(({ finishedAt }) => finishedAt)) : undefined
  const failure = captures.find((capture) => capture.failure !== undefined)?.failure
  const { namespace, pod, podUid } = first.identity
  return {
    id: job.id,
    state,
    identity: job.wholePod ? { namespace, pod, podUid } : toIdentity(first.identity),
    reason: job.reason,
    pin: job.pin,
    requestedBy: job.requestedBy,
    queuedAt: job.queuedAt.toISOString(),
    startedAt: started?.toISOString(),
    finishedAt: finished?.toISOString(),
    bytesWritten: captures.reduce((sum, { bytesWritten }) => sum + bytesWritten, 0),
    phases: job.wholePod ? undefined : toPhases(first),
    checkpoints: checkpointIds(job),
    error: failure && toErrorResponse(failure),
    consistent: job.wholePod ? false : undefined,
    containers: job.wholePod ? captures.map(toContainerResponse) : undefined,
  }
}

/** Returns the checkpoints of a successful job. Throws CaptureFailedError if the job did not succeed. */
export function toCaptureResult(job: CaptureJob, node: string): CaptureResult {
  const state = jobState(job)
  if (state !== 'succeeded') throw failureOf(job)
  return {
    items: job.captures.flatMap((capture) => toCheckpointResponse(capture, node) ?? []),
    job: job.id,
    consistent: job.wholePod ? false : undefined,
  }
}

function failureOf(job: CaptureJob): CaptureFailedError {
  const { namespace, pod } = job.captures[0]?.identity ?? { namespace: '', pod: '' }
  const extra = { job: job.id, checkpoints: checkpointIds(job) }
  const failed = job.captures.find((capture) => capture.failure !== undefined)
  if (failed?.failure !== undefined) {
    const { code, detail, hint, runtimeMessage, isArchiveKept } = failed.failure
    return new CaptureFailedError(detail, {
      code,
      ...(hint !== undefined && { hint }),
      ...(runtimeMessage !== undefined && { runtimeMessage }),
      extra: { ...extra, container: failed.identity.container, ...(isArchiveKept && { archiveKept: true }) },
    })
  }
  if (job.captures.some(({ state }) => state === 'unknown-outcome')) {
    return new CaptureFailedError(
      `Cannot tell how the capture of "${namespace}/${pod}" ended: the agent was restarted`,
      {
        code: 'UnknownOutcome',
        hint: 'Ask again if the checkpoint is still wanted.',
        extra,
      },
    )
  }
  return new CaptureFailedError(`Cannot capture "${namespace}/${pod}": the job was cancelled`, {
    code: 'CaptureCancelled',
    hint: 'Ask again if the checkpoint is still wanted.',
    extra,
  })
}

/** Describes a new checkpoint by the capture alone; the remaining fields require reading the archive. */
function toCheckpointResponse({ archive, identity }: ContainerCapture, node: string): CheckpointResponse | undefined {
  if (archive === undefined) return undefined
  return {
    id: archive.checkpointId,
    node,
    fileName: archive.fileName,
    state: 'discovered',
    problems: [],
    identity: { ...toIdentity(identity), source: 'observed' },
    takenAt: archive.takenAt.toISOString(),
    sizeBytes: archive.sizeBytes,
  }
}

function toContainerResponse(capture: ContainerCapture): ContainerCaptureResponse {
  return {
    identity: toIdentity(capture.identity),
    state: capture.state,
    startedAt: capture.startedAt?.toISOString(),
    finishedAt: capture.finishedAt?.toISOString(),
    bytesWritten: capture.bytesWritten,
    phases: toPhases(capture),
    checkpoint: capture.archive?.checkpointId,
    error: capture.failure && toErrorResponse(capture.failure),
  }
}

function toErrorResponse({ code, detail, hint, runtimeMessage, isArchiveKept }: CaptureFailure): CaptureErrorResponse {
  return {
    code,
    detail: shownText(detail),
    hint: hint && shownText(hint),
    runtimeMessage: runtimeMessage && shownText(runtimeMessage),
    archiveKept: isArchiveKept || undefined,
  }
}

function toPhases({ phases }: ContainerCapture): ContainerCaptureResponse['phases'] {
  return phases.map(({ name, startedAt, millis }) => ({ name, startedAt: startedAt.toISOString(), millis }))
}

function checkpointIds(job: CaptureJob): string[] {
  return job.captures.flatMap(({ archive }) => archive?.checkpointId ?? [])
}

function earliest(times: readonly (Date | undefined)[]): Date | undefined {
  return times.filter((time) => time !== undefined).toSorted((a, b) => a.getTime() - b.getTime())[0]
}

function latest(times: readonly (Date | undefined)[]): Date | undefined {
  return times.filter((time) => time !== undefined).toSorted((a, b) => b.getTime() - a.getTime())[0]
}
