import { lstat, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { checkpointId } from '../../checkpoint/checkpoint-id.ts'
import type { CapturedArchive } from '../../checkpoint/capture-job.ts'
import { errorText, isSystemError } from '../../shared/errors.ts'
import type { JobStore, UnfinishedCapture } from '../../store/job-store.ts'
import type { CaptureSubject } from '../custody/capture-custody.ts'
import { writePin } from '../pins.ts'
import { awaitAbandonedDump, awaitUnansweredDump, passes, type AbandonedDumpEnd } from './abandoned-dump.ts'
import { OUTCOME_UNKNOWN, RESTARTED_BEFORE_BEGIN, toCaptureFailure } from './capture-failure.ts'
import { CaptureRecord } from './capture-record.ts'
import type { CaptureTools } from './capture-run.ts'
import { assertWhole, openStaged, publish, syncDirectory } from './publish.ts'

export interface RecoveryOptions {
  readonly store: JobStore
  readonly tools: CaptureTools
  /** Keeps new captures off a container whose dump may still be going on. */
  readonly hold: (containerId: string, jobId: string, until: Promise<unknown>) => void
}

/** Where the row says nothing about it. */
const DUMP_MAY_TAKE_MS = 60_000
/** Well formed, and of no container: for a question about the runtime itself. */
const NO_CONTAINER = '0'.repeat(64)

/**
 * Ends what an earlier run of the agent left unfinished, however that run ended: whole archives are adopted, folders
 * cleaned, containers watched until they run. Resolves when all is done; call it without waiting, captures may begin.
 */
export async function recoverCaptures({ store, tools, hold }: RecoveryOptions): Promise<void> {
  const unfinished = store.listUnfinished()
  const known = new Set(unfinished.map(({ traces }) => traces.stagingId))
  // Before the first await: the containers must be held before a request can come in.
  const recoveries = unfinished.map((left) => recover(left, { store, tools, hold }))
  const leftovers = (await tools.staging.listLeftovers()).filter((id) => !known.has(id))
  await Promise.all([...recoveries, ...leftovers.map((id) => removeLeftover(id, { store, tools, hold }))])
}

/** Its capture has ended, or is not known; a runtime that heeds no cancel may be writing to it all the same. */
async function removeLeftover(id: string, { store, tools, hold }: RecoveryOptions): Promise<void> {
  const left = store.findByStagingId(id)
  const { containerId, jobId, dumpMayTakeMs = DUMP_MAY_TAKE_MS } = left ?? {}
  const isOver = (async () =>
    (await heedsCancel(containerId ?? NO_CONTAINER, tools)) ||
    (await passes(dumpMayTakeMs, tools.freezeGuard.closed)))()
  if (containerId !== undefined && jobId !== undefined) hold(containerId, jobId, isOver)
  if (!(await isOver)) return
  tools.logger.warn({ stagingId: id }, 'Removing a staging folder that no capture of the index claims')
  await tools.staging.remove(id)
}

/** Asks the runtime; one that is away counts as one that goes on whatever its caller does. */
async function heedsCancel(containerId: string, { runtime }: CaptureTools): Promise<boolean> {
  await runtime.taskState(containerId).catch(() => undefined)
  return runtime.heedsCancel === true
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
    // At once: the first answer of this run already says so.
    record.end('failed', RESTARTED_BEFORE_BEGIN)
    await tools.custody.fail(subjectOf(left), 'failed', RESTARTED_BEFORE_BEGIN)
    return
  }
  const { containerId } = left.capture.identity
  const dumpMayTakeMs = left.traces.dumpMayTakeMs ?? DUMP_MAY_TAKE_MS
  // Once it is sealing, the runtime has answered: nothing of the dump can come any more.
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
      const { staging } = tools
      return (await isHeeded)
        ? await awaitAbandonedDump({ settled, staging, stagingId })
        : await awaitUnansweredDump({ over, staging, stagingId })
    },
  })
  const isFree = Promise.all([done, isHeeded.then(async (heeded) => (heeded ? true : await over))])
  hold(containerId, left.jobId, isFree)
  await done
}

interface Finish {
  readonly tools: CaptureTools
  /** Resolves when nothing more can come of the dump. */
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
      if (left.pin) await pinOrWarn(archive.fileName, left, tools)
      record.succeed(archive)
      await recordSuccess(left, archive, tools)
    }
    if (left.traces.stagingId !== undefined) await tools.staging.remove(left.traces.stagingId)
    tools.logger.warn(
      { jobId: left.jobId, ...left.capture.identity, archive: archive?.fileName },
      'Ended a capture that the agent had left unfinished',
    )
  } catch (error) {
    const failure = toCaptureFailure(error)
    await tools.custody.fail(subjectOf(left), 'unknown-outcome', failure)
    record.end('unknown-outcome', failure)
    tools.logger.error({ jobId: left.jobId, error: errorText(error) }, 'Cannot recover a capture')
  }
}

function subjectOf({ jobId, capture, requestedBy, reason }: UnfinishedCapture): CaptureSubject {
  return { jobId, identity: capture.identity, actor: { user: requestedBy, groups: [] }, reason }
}

async function recordSuccess(left: UnfinishedCapture, archive: CapturedArchive, tools: CaptureTools): Promise<void> {
  const { ino, mtime } = await lstat(join(tools.checkpointsDirectory, archive.fileName))
  await tools.custody.succeed(subjectOf(left), archive, { inode: ino, modifiedAt: mtime }, {})
}

/** It had its name already: by inode, since the name alone could be another's. */
async function findPublished(
  left: UnfinishedCapture,
  { checkpointsDirectory, staging }: CaptureTools,
): Promise<CapturedArchive | undefined> {
  const { publishedName, publishedInode, stagingId } = left.traces
  if (publishedName === undefined || publishedInode === undefined || stagingId === undefined) return undefined
  const stat = await lstat(join(checkpointsDirectory, publishedName)).catch(undefinedIfMissing)
  if (stat?.isFile() !== true || stat.ino !== publishedInode) return undefined
  await unlink(staging.archivePath(stagingId)).catch(undefinedIfMissing)
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
  const { staging, checkpointsDirectory } = tools
  if (stagingId === undefined) return undefined
  const end = await awaitDump(stagingId)
  if (end !== 'whole') return end === 'stopped' ? end : undefined
  const staged = staging.archivePath(stagingId)
  await using file = await openStaged(staged)
  const sizeBytes = await assertWhole(file)
  await file.chmod(0o600)
  await file.sync()
  const publishedInode = (await file.stat()).ino
  const takenAt = left.capture.startedAt ?? tools.clock.now()
  const fileName = await publish({
    staged,
    directory: checkpointsDirectory,
    parts: { ...left.capture.identity, takenAt },
    onName: (publishedName) => {
      record.trace({ publishedName, publishedInode })
      tools.custody.expect(checkpointId(publishedName))
    },
  })
  return { checkpointId: checkpointId(fileName), fileName, sizeBytes, takenAt }
}

/** The archive is safe already: a marker that cannot be written does not undo it. */
async function pinOrWarn(fileName: string, left: UnfinishedCapture, tools: CaptureTools): Promise<void> {
  const note = { reason: left.reason, by: left.requestedBy, at: tools.clock.now() }
  await writePin(tools.checkpointsDirectory, fileName, note).catch((error: unknown) => {
    tools.logger.error({ fileName, error: errorText(error) }, 'Cannot pin the archive')
  })
}

function undefinedIfMissing(error: unknown): undefined {
  if (isSystemError(error, 'ENOENT')) return undefined
  throw error
}
