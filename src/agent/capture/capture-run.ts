import { checkpointId } from '../../checkpoint/checkpoint-id.ts'
import { dumpTimeOf, type CaptureFailure } from '../../checkpoint/capture-job.ts'
import { errorText } from '../../shared/errors.ts'
import type { Clock } from '../../shared/clock.ts'
import { failPoint } from '../../shared/fail-point.ts'
import type { Logger } from '../../shared/logger.ts'
import type { Actor } from '../../checkpoint/actor.ts'
import type { CaptureCustody, ContainerFacts } from '../custody/capture-custody.ts'
import { writeMarker } from '../directory/pins.ts'
import { admitInTurn, type Admission } from './admission.ts'
import { answerInTime, endBadly, type EndingTools } from './bad-ending.ts'
import { ArchiveKeptError, TIMED_OUT, toCaptureFailure } from './capture-failure.ts'
import type { CaptureRecord } from './capture-record.ts'
import { assertNotPaused } from './freeze-look.ts'
import { followGrowingFile } from './growing-file.ts'
import { assertWhole, isUnchecked, openStaged, publish } from './publish.ts'
import { cancelSafely } from './safe-cancel.ts'

export interface CaptureTools extends EndingTools {
  readonly custody: CaptureCustody
  readonly clock: Clock
  readonly logger: Logger
}

export interface CaptureRunRequest {
  /** Result of the first checks. Undefined if the capture had to wait from the beginning. */
  readonly admission: Admission | undefined
  /** Facts recorded with the outcome. */
  readonly facts: ContainerFacts
  readonly stagingId: string
  readonly pin: boolean
  readonly reason: string | undefined
  readonly requestedBy: string
  readonly actor: Actor
  /**
   * Aborts with a `CaptureFailure` as its reason. The capture ends with that failure unless the runtime finishes
   * nevertheless.
   */
  readonly signal: AbortSignal
  /** Called if the container must be left alone for a while after the end of this capture. */
  readonly holdUntil: (settled: Promise<unknown>) => void
}

/** Takes the checkpoint of one container. Never throws: the record holds the result. */
export async function runCapture(record: CaptureRecord, order: CaptureRunRequest, tools: CaptureTools): Promise<void> {
  const { stagingId, signal } = order
  const { identity } = record.capture
  const subject = { jobId: record.jobId, identity, actor: order.actor, reason: order.reason }
  const reservation = { bytes: 0 }
  tools.reservations.add(reservation)
  const staged = new StagingFolder(stagingId, tools)
  try {
    signal.throwIfAborted()
    const admission = await record.phase('admission', () =>
      admitInTurn({ identity, pin: order.pin }, { earlier: order.admission, reservation }, tools),
    )
    signal.throwIfAborted()
    tools.freezeGuard.release(identity.containerId)
    record.trace({ stagingId, dumpMayTakeMs: admission.dumpMayTakeMs })
    record.enter('running')
    failPoint('capture.admitted')

    const takenAt = tools.clock.now()
    const [location] = await Promise.all([staged.create(), tools.custody.intend(subject)])
    failPoint('capture.intended')
    signal.throwIfAborted()
    await dump(record, { order, tools, location, admission })
    failPoint('capture.dumped')
    const sealed = await seal(record, { order, tools, location, takenAt })
    const archive = { ...sealed.archive, takenAt }
    record.succeed(archive)
    // Runs after the row is written, since the inventory uses the row to recognize the file. If a crash prevents this
    // step, the next start repeats it.
    const facts = { ...order.facts, ...dumpTimeOf(record.capture) }
    await Promise.all([tools.custody.succeed(subject, archive, sealed.file, facts), staged.remove()])
    failPoint('capture.recorded')
    const { fileName, sizeBytes } = archive
    tools.logger.info({ ...identity, jobId: record.jobId, fileName, sizeBytes }, 'Took a checkpoint')
  } catch (thrown) {
    const error = isUnchecked(thrown) ? new ArchiveKeptError(thrown) : thrown
    if (error instanceof ArchiveKeptError) staged.keep()
    const isGivenUp = signal.aborted && error === signal.reason
    const failure = isGivenUp ? (signal.reason as CaptureFailure) : toCaptureFailure(error)
    const state = isGivenUp && failure !== TIMED_OUT ? 'cancelled' : 'failed'
    await tools.custody.fail(subject, state, failure)
    record.end(state, failure)
    tools.logger.warn({ ...identity, jobId: record.jobId, failure }, 'A capture failed')
  } finally {
    tools.reservations.delete(reservation)
    await staged.remove()
  }
}

/** Directory of one capture in staging. */
class StagingFolder {
  readonly #id: string
  readonly #tools: CaptureTools
  #removal: Promise<void> | undefined

  constructor(id: string, tools: CaptureTools) {
    this.#id = id
    this.#tools = tools
  }

  async create(): Promise<string> {
    const location = await this.#tools.staging.create(this.#id)
    failPoint('capture.staged')
    return location
  }

  /** Keeps the directory from being removed, because its content must not be lost. */
  keep(): void {
    this.#tools.staging.keep(this.#id)
    this.#removal = Promise.resolve()
  }

  /** Removes the directory once, even if called repeatedly. Never rejects. */
  remove(): Promise<void> {
    this.#removal ??= this.#remove()
    return this.#removal
  }

  async #remove(): Promise<void> {
    try {
      await this.#tools.staging.remove(this.#id)
    } catch (error) {
      this.#tools.logger.error({ stagingId: this.#id, error: errorText(error) }, 'Cannot clean the staging folder')
    }
  }
}

interface Dump {
  readonly order: CaptureRunRequest
  readonly tools: CaptureTools
  readonly location: string
  readonly admission: Admission
}

/** An older check of the container is repeated right before the runtime is called. */
const LOOK_HOLDS_MS = 250

/**
 * Returns once the runtime has written the archive. Also returns if a call that was given up still leaves a whole
 * archive.
 */
async function dump(record: CaptureRecord, { order, tools, location, admission }: Dump): Promise<void> {
  const { identity } = record.capture
  const isFresh = performance.now() - admission.at < LOOK_HOLDS_MS
  const wasPaused = isFresh ? admission.wasPaused : await assertNotPaused(identity.containerId, tools.freezeControl)
  // Written before the call. After a crash, it shows that a pause may have been caused by this capture.
  if (wasPaused === false) record.trace({ wasPaused })
  const file = followGrowingFile(location, (bytes) => {
    record.setBytes(bytes)
  })
  try {
    await record.phase('dump', () => callRuntime(identity.containerId, { order, tools, location, admission }))
  } catch (error) {
    await endBadly(error, {
      tools,
      containerId: identity.containerId,
      about: { job: record.jobId, identity: { ...identity } },
      dumpMayTakeMs: admission.dumpMayTakeMs,
      wasSeenRunning: wasPaused === false,
      stagingId: order.stagingId,
      signal: order.signal,
      holdUntil: order.holdUntil,
    })
  } finally {
    await file.stop()
  }
}

/**
 * Calls the runtime. If the runtime ignores cancellation, the call is not cancelled and the agent waits for its end.
 */
async function callRuntime(containerId: string, { order, tools, location, admission }: Dump): Promise<void> {
  const { runtime, freezeControl: control } = tools
  const isCancellable = runtime.heedsCancel !== false
  const wire = isCancellable
    ? cancelSafely({ containerId, control, wanted: order.signal })
    : new AbortController().signal
  const call = runtime.checkpoint(containerId, location, wire)
  setTimeout(() => {
    failPoint('capture.dumping')
  }, 50).unref()
  if (isCancellable) await call
  else await answerInTime(call, { givenUp: order.signal, dumpMayTakeMs: admission.dumpMayTakeMs })
}

interface Seal {
  readonly order: CaptureRunRequest
  readonly tools: CaptureTools
  readonly location: string
  readonly takenAt: Date
}

interface Sealed {
  readonly archive: { readonly checkpointId: string; readonly fileName: string; readonly sizeBytes: number }
  readonly file: { readonly inode: number; readonly modifiedAt: Date }
}

/**
 * Checks, syncs and publishes the staged archive. Throws ArchiveKeptError if the archive is whole, or may be, and
 * cannot be published.
 */
async function seal(record: CaptureRecord, { order, tools, location, takenAt }: Seal): Promise<Sealed> {
  record.enter('sealing')
  await using file = await openStaged(location)
  const { size: sizeBytes, ino: inode, mtime: modifiedAt } = await file.stat()
  const check = async () => {
    await assertWhole({ path: location, file, sizeBytes }, tools.stagedCheck)
    failPoint('capture.verified')
  }
  const sync = async () => {
    await file.chmod(0o600)
    await file.sync()
    failPoint('capture.synced')
  }
  const [checked, ...made] = await Promise.allSettled([
    record.phase('verify', check),
    record.phase('sync', sync),
    order.pin ? writeStagedMarker(order, tools) : undefined,
  ])
  if (checked.status === 'rejected' && !isUnchecked(checked.reason)) throw checked.reason
  try {
    for (const outcome of [checked, ...made]) if (outcome.status === 'rejected') throw outcome.reason
    const fileName = await record.phase('publish', () =>
      publish({
        staged: location,
        ...(order.pin && { stagedMarker: tools.staging.markerPath(order.stagingId) }),
        directory: tools.checkpointsDirectory,
        parts: { ...record.capture.identity, takenAt },
        onName: (publishedName) => {
          record.trace({ publishedName, publishedInode: inode })
          tools.custody.expect(checkpointId(publishedName))
        },
      }),
    )
    return { archive: { checkpointId: checkpointId(fileName), fileName, sizeBytes }, file: { inode, modifiedAt } }
  } catch (error) {
    throw new ArchiveKeptError(error)
  }
}

async function writeStagedMarker(order: CaptureRunRequest, tools: CaptureTools): Promise<void> {
  const note = { reason: order.reason, by: order.requestedBy, at: tools.clock.now() }
  await writeMarker(tools.staging.markerPath(order.stagingId), note)
}
