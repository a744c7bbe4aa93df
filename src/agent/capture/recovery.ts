import { lstat, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { checkpointId } from '../../checkpoint/checkpoint-id.ts'
import type { CapturedArchive } from '../../checkpoint/capture-job.ts'
import { errorText, isSystemError } from '../../shared/errors.ts'
import type { JobStore, UnfinishedCapture } from '../../store/job-store.ts'
import type { CaptureSubject } from '../custody/capture-custody.ts'
import { writePin } from '../pins.ts'
import { awaitAbandonedDump } from './abandoned-dump.ts'
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

/**
 * Ends what an earlier run of the agent left unfinished, however that run ended: whole archives are adopted, folders
 * cleaned, containers watched until they run. Resolves when all is done; call it without waiting, captures may begin.
 */
export async function recoverCaptures({ store, tools, hold }: RecoveryOptions): Promise<void> {
  const unfinished = store.listUnfinished()
  const known = new Set(unfinished.map(({ traces }) => traces.stagingId))
  // Before the first await: the containers must be held before a request can come in.
  const recoveries = unfinished.map((left) => recover(left, { store, tools, hold }))
  for (const id of await tools.staging.listLeftovers()) {
    if (known.has(id)) continue
    tools.logger.warn({ stagingId: id }, 'Removing a staging folder that no capture of the index claims')
    await tools.staging.remove(id)
  }
  await Promise.all(recoveries)
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
  const watch =
    left.traces.wasPaused === true
      ? undefined
      : tools.freezeGuard.watch(containerId, {
          reason: 'the agent was restarted during its dump',
          dumpMayTakeMs: left.traces.dumpMayTakeMs ?? DUMP_MAY_TAKE_MS,
        })
  const done = finish(left, record, { tools, settled: watch?.settled ?? Promise.resolve('never-frozen') })
  hold(containerId, left.jobId, done)
  await done
}

interface Finish {
  readonly tools: CaptureTools
  readonly settled: Parameters<typeof awaitAbandonedDump>[0]['settled']
}

async function finish(left: UnfinishedCapture, record: CaptureRecord, { tools, settled }: Finish): Promise<void> {
  try {
    const archive = (await findPublished(left, tools)) ?? (await adopt(left, record, { tools, settled }))
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
  { tools, settled }: Finish,
): Promise<CapturedArchive | 'stopped' | undefined> {
  const { stagingId } = left.traces
  const { staging, checkpointsDirectory } = tools
  if (stagingId === undefined) return undefined
  const end = await awaitAbandonedDump({ settled, staging, stagingId })
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
