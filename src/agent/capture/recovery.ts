import { lstat } from 'node:fs/promises'
import { join } from 'node:path'
import { checkpointId } from '../../checkpoint/checkpoint-id.ts'
import { dumpTimeOf, type CapturedArchive, type CaptureFailure } from '../../checkpoint/capture-job.ts'
import { AgentError, errorText, isSystemError } from '../../shared/errors.ts'
import type { JobStore, UnfinishedCapture } from '../../store/job-store.ts'
import type { CaptureSubject } from '../custody/capture-custody.ts'
import { pinMarkerOf } from '../../checkpoint/pin-marker.ts'
import { writeMarker, writePin } from '../directory/pins.ts'
import { awaitAbandonedDump, awaitUnansweredDump, passes, type AbandonedDumpEnd } from './abandoned-dump.ts'
import {
  ArchiveKeptError,
  KEPT_ARCHIVE_GONE,
  OUTCOME_UNKNOWN,
  RESTARTED_BEFORE_BEGIN,
  toCaptureFailure,
} from './capture-failure.ts'
import { CaptureRecord } from './capture-record.ts'
import type { CaptureTools } from './capture-run.ts'
import { assertWhole, isUnchecked, openStaged, publish, removeOwnMarker, syncDirectory } from './publish.ts'

export interface RecoveryOptions {
  readonly store: JobStore
  readonly tools: CaptureTools
  /** Keeps new captures off a container whose dump may still be running. */
  readonly hold: (containerId: string, jobId: string, until: Promise<unknown>) => void
}

/** Used if the row has no estimate. */
const DUMP_MAY_TAKE_MS = 60_000
/** A well-formed ID of no container, for a query about the runtime itself. */
const NO_CONTAINER = '0'.repeat(64)

/**
 * Ends the captures that an earlier run of the agent left unfinished, however that run ended. Adopts whole archives,
 * cleans staging directories, and watches containers until they run. Resolves when all is done. Call it without
 * waiting: new captures may begin.
 */
export async function recoverCaptures({ store, tools, hold }: RecoveryOptions): Promise<void> {
  const unfinished = store.listUnfinished()
  const held = store.listHeld()
  const known = new Set([...unfinished, ...held].map(({ traces }) => traces.stagingId))
  for (const { traces } of held) if (traces.stagingId !== undefined) tools.staging.keep(traces.stagingId)
  // Runs before the first await, because the containers must be held before a request can arrive.
  const recoveries = unfinished.map((left) => recover(left, { store, tools, hold }))
  const publications = held.map((left) => publishHeld(left, { store, tools }))
  const unclaimed = (await tools.staging.listLeftovers()).filter((id) => !known.has(id))
  await Promise.all([
    ...recoveries,
    ...publications,
    ...unclaimed.map((stagingId) => clearUnclaimed(stagingId, { store, tools, hold })),
  ])
}

/**
 * Removes the staging directory of an ended capture once the runtime can no longer write to it. A whole archive that no
 * row mentions is kept, since it may be the only copy.
 */
async function clearUnclaimed(stagingId: string, { store, tools, hold }: RecoveryOptions): Promise<void> {
  const { staging, logger, freezeGuard } = tools
  const left = store.findByStagingId(stagingId)
  const { containerId, jobId, dumpMayTakeMs = DUMP_MAY_TAKE_MS } = left ?? {}
  const isOver = (async () =>
    (await heedsCancel(containerId ?? NO_CONTAINER, tools)) || (await passes(dumpMayTakeMs, freezeGuard.closed)))()
  if (containerId !== undefined && jobId !== undefined) hold(containerId, jobId, isOver)
  if (!(await isOver)) return
  if (left === undefined && (await mayBeWhole(staging.archivePath(stagingId), tools))) {
    staging.keep(stagingId)
    logger.error(
      { stagingId },
      'Keeping a whole archive in staging that no capture of the index claims: move it away, or remove its directory',
    )
    return
  }
  logger.warn({ stagingId }, 'Removing a staging directory that no capture of the index claims')
  await staging.remove(stagingId)
}

/** Returns whether the file has no other name and is whole, or could not be checked. */
async function mayBeWhole(path: string, { stagedCheck }: CaptureTools): Promise<boolean> {
  try {
    await using file = await openStaged(path)
    const { size: sizeBytes, nlink } = await file.stat()
    if (nlink > 1) return false
    await assertWhole({ path, file, sizeBytes }, stagedCheck)
    return true
  } catch (error) {
    return isUnchecked(error)
  }
}

/** Returns whether the runtime honors cancellation. A runtime that does not answer counts as one that ignores it. */
async function heedsCancel(containerId: string, { runtime }: CaptureTools): Promise<boolean> {
  await runtime.taskState(containerId).catch(() => undefined)
  return runtime.heedsCancel === true
}

/** Retries the publication of an archive that could not be published when it was taken. */
async function publishHeld(
  left: UnfinishedCapture,
  { store, tools }: Pick<RecoveryOptions, 'store' | 'tools'>,
): Promise<void> {
  const { jobId, ordinal, capture, traces } = left
  const { clock, logger } = tools
  const record = new CaptureRecord({ jobId, ordinal, capture, store, clock, logger })
  const about = { jobId, stagingId: traces.stagingId, ...capture.identity }
  try {
    const archive = (await findPublished(left, tools)) ?? (await publishStaged(left, record, tools))
    if (archive === undefined) {
      logger.error(about, 'An archive that was kept in staging is gone')
      await tools.custody.fail(subjectOf(left), 'failed', KEPT_ARCHIVE_GONE)
      record.end('failed', KEPT_ARCHIVE_GONE)
    } else {
      await succeed(left, record, { archive, tools })
      logger.warn({ ...about, archive: archive.fileName }, 'Published an archive that had been kept in staging')
    }
    if (traces.stagingId !== undefined) {
      await tools.staging.remove(traces.stagingId)
      tools.staging.release(traces.stagingId)
    }
  } catch (error) {
    logger.error({ ...about, error: errorText(error) }, 'Cannot publish an archive: it is kept in staging')
  }
}

async function recover(left: UnfinishedCapture, { store, tools, hold }: RecoveryOptions): Promise<void> {
  const { clock, logger } = tools
  const record = new CaptureRecord({
    jobId: left.jobId,
    ordinal: left.ordinal,
    capture: left.capture,
    store,
    clock,
    logger,
  })
  if (left.capture.state === 'queued') {
    // Ended before the first await, so that the first answer of this run already says so.
    record.end('failed', RESTARTED_BEFORE_BEGIN)
    await tools.custody.fail(subjectOf(left), 'failed', RESTARTED_BEFORE_BEGIN)
    return
  }
  const { containerId } = left.capture.identity
  const dumpMayTakeMs = left.traces.dumpMayTakeMs ?? DUMP_MAY_TAKE_MS
  // In the sealing state the runtime has already answered, so its dump is over.
  const isInDump = left.capture.state === 'running'
  const watch =
    isInDump && left.traces.wasPaused === false
      ? tools.freezeGuard.watch(containerId, {
          reason: 'the agent was restarted during its dump',
          dumpMayTakeMs,
          about: { job: left.jobId, identity: { ...left.capture.identity } },
        })
      : undefined
  const settled = watch?.settled ?? Promise.resolve('never-frozen' as const)
  const over = isInDump ? passes(dumpMayTakeMs, tools.freezeGuard.closed) : Promise.resolve(true)
  const isHeeded = isInDump ? heedsCancel(containerId, tools) : Promise.resolve(true)
  const done = finish(left, record, {
    tools,
    awaitDump: async (stagingId) => {
      const { staging, stagedCheck } = tools
      return (await isHeeded)
        ? await awaitAbandonedDump({ settled, staging, stagingId, stagedCheck })
        : await awaitUnansweredDump({ over, staging, stagingId, stagedCheck })
    },
  })
  const isFree = Promise.all([done, isHeeded.then(async (heeded) => (heeded ? true : await over))])
  hold(containerId, left.jobId, isFree)
  await done
}

interface Finish {
  readonly tools: CaptureTools
  /** Resolves once the dump can leave nothing more. */
  readonly awaitDump: (stagingId: string) => Promise<AbandonedDumpEnd>
}

async function finish(left: UnfinishedCapture, record: CaptureRecord, { tools, awaitDump }: Finish): Promise<void> {
  try {
    const archive = (await findPublished(left, tools)) ?? (await adopt(left, record, { tools, awaitDump }))
    if (archive === 'stopped') return
    if (archive === undefined) {
      await tools.custody.fail(subjectOf(left), 'unknown-outcome', OUTCOME_UNKNOWN)
      record.end('unknown-outcome', OUTCOME_UNKNOWN)
    } else {
      await succeed(left, record, { archive, tools })
    }
    if (left.traces.stagingId !== undefined) await tools.staging.remove(left.traces.stagingId)
    tools.logger.warn(
      { jobId: left.jobId, ...left.capture.identity, archive: archive?.fileName },
      'Ended a capture that the agent had left unfinished',
    )
  } catch (thrown) {
    const error = isUnchecked(thrown) ? new ArchiveKeptError(thrown) : thrown
    const isKept = error instanceof ArchiveKeptError
    const state = isKept ? 'failed' : 'unknown-outcome'
    if (isKept && left.traces.stagingId !== undefined) tools.staging.keep(left.traces.stagingId)
    const failure = toCaptureFailure(error)
    await tools.custody.fail(subjectOf(left), state, failure)
    record.end(state, failure)
    tools.logger.error({ jobId: left.jobId, isKept, error: errorText(error) }, 'Cannot recover a capture')
  }
}

function subjectOf({ jobId, capture, requestedBy, reason }: UnfinishedCapture): CaptureSubject {
  return { jobId, identity: capture.identity, actor: { user: requestedBy, groups: [] }, reason }
}

interface Found {
  readonly archive: CapturedArchive
  readonly tools: CaptureTools
}

/** Records the success of a capture whose archive has its final name on disk. */
async function succeed(left: UnfinishedCapture, record: CaptureRecord, { archive, tools }: Found): Promise<void> {
  const unpinned = left.pin ? await findPinFailure(left, { archive, tools }) : undefined
  if (unpinned === undefined) record.succeed(archive)
  else record.end('failed', unpinned)
  const { ino, mtime } = await lstat(join(tools.checkpointsDirectory, archive.fileName))
  await tools.custody.succeed(subjectOf(left), archive, { inode: ino, modifiedAt: mtime }, dumpTimeOf(left.capture))
}

/**
 * Finds an archive that was already published. It is identified by inode because another file could have the same name.
 */
async function findPublished(
  left: UnfinishedCapture,
  { checkpointsDirectory }: CaptureTools,
): Promise<CapturedArchive | undefined> {
  const { publishedName, publishedInode } = left.traces
  if (publishedName === undefined || publishedInode === undefined) return undefined
  const stat = await lstat(join(checkpointsDirectory, publishedName)).catch(undefinedIfMissing)
  if (stat?.isFile() !== true || stat.ino !== publishedInode) return undefined
  await syncDirectory(checkpointsDirectory)
  return {
    checkpointId: checkpointId(publishedName),
    fileName: publishedName,
    sizeBytes: stat.size,
    takenAt: left.capture.startedAt ?? stat.mtime,
  }
}

async function adopt(
  left: UnfinishedCapture,
  record: CaptureRecord,
  { tools, awaitDump }: Finish,
): Promise<CapturedArchive | 'stopped' | undefined> {
  const { stagingId } = left.traces
  if (stagingId === undefined) return undefined
  const end = await awaitDump(stagingId)
  if (end !== 'whole') return end === 'stopped' ? end : undefined
  return await publishStaged(left, record, tools)
}

/**
 * Publishes the archive in staging. Returns undefined if there is no whole one. Throws ArchiveKeptError if the archive
 * is whole, or may be, and cannot be published.
 */
async function publishStaged(
  left: UnfinishedCapture,
  record: CaptureRecord,
  tools: CaptureTools,
): Promise<CapturedArchive | undefined> {
  const { stagingId, publishedName: announced } = left.traces
  const { staging, checkpointsDirectory: directory } = tools
  if (stagingId === undefined) return undefined
  const staged = staging.archivePath(stagingId)
  await using file = await openStaged(staged).catch(undefinedIfIncomplete)
  if (file === undefined) return undefined
  try {
    const { size: sizeBytes, ino: publishedInode } = await file.stat()
    const isWhole = await assertWhole({ path: staged, file, sizeBytes }, tools.stagedCheck).then(
      () => true,
      undefinedIfIncomplete,
    )
    if (isWhole === undefined) return undefined
    await file.chmod(0o600)
    await file.sync()
    const stagedMarker = staging.markerPath(stagingId)
    if (announced !== undefined) await removeOwnMarker({ stagedMarker, directory, fileName: announced })
    if (left.pin) await writeMarker(stagedMarker, noteOf(left, tools))
    const takenAt = left.capture.startedAt ?? tools.clock.now()
    const fileName = await publish({
      staged,
      ...(left.pin && { stagedMarker }),
      directory,
      parts: { ...left.capture.identity, takenAt },
      onName: (publishedName) => {
        record.trace({ publishedName, publishedInode })
        tools.custody.expect(checkpointId(publishedName))
      },
    })
    return { checkpointId: checkpointId(fileName), fileName, sizeBytes, takenAt }
  } catch (error) {
    throw new ArchiveKeptError(error)
  }
}

/**
 * Writes the pin again if it is missing, and returns the failure if that is impossible. The marker is linked before its
 * archive, but a power failure may have removed it.
 */
async function findPinFailure(left: UnfinishedCapture, { archive, tools }: Found): Promise<CaptureFailure | undefined> {
  const { checkpointsDirectory: directory, logger } = tools
  const { checkpointId: id, fileName } = archive
  try {
    if ((await lstat(join(directory, pinMarkerOf(fileName))).catch(undefinedIfMissing)) !== undefined) return undefined
    await writePin(directory, fileName, noteOf(left, tools))
    return undefined
  } catch (error) {
    logger.error({ fileName, error: errorText(error) }, 'Cannot pin the archive')
    return {
      code: 'PinNotWritten',
      detail: `the archive was published as checkpoint "${id}", and its pin could not be written: ${errorText(error)}`,
      hint: `Pin it with PUT /v1/checkpoints/${id}/pin before a sweep may take it.`,
    }
  }
}

function noteOf({ reason, requestedBy }: UnfinishedCapture, { clock }: CaptureTools) {
  return { reason, by: requestedBy, at: clock.now() }
}

function undefinedIfIncomplete(error: unknown): undefined {
  if (error instanceof AgentError && error.code === 'ArchiveIncomplete') return undefined
  throw error
}

function undefinedIfMissing(error: unknown): undefined {
  if (isSystemError(error, 'ENOENT')) return undefined
  throw error
}
