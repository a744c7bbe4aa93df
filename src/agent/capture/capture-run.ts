import { checkpointId } from '../../checkpoint/checkpoint-id.ts'
import type { CapturedArchive, CaptureFailure } from '../../checkpoint/capture-job.ts'
import { errorText, ConflictError } from '../../shared/errors.ts'
import type { Clock } from '../../shared/clock.ts'
import { failPoint } from '../../shared/fail-point.ts'
import type { Logger } from '../../shared/logger.ts'
import type { ContainerRuntime } from '../../runtime/container-runtime.ts'
import type { FreezeControl, FreezeState } from '../../runtime/freeze-control.ts'
import type { FreezeGuard } from '../../runtime/freeze-guard.ts'
import { assertRoom, readDiskSpace, sizeFactor, type DiskFloor } from '../disk-space.ts'
import { writePin } from '../pins.ts'
import type { Staging } from '../staging.ts'
import { awaitAbandonedDump } from './abandoned-dump.ts'
import { TIMED_OUT, toCaptureFailure } from './capture-failure.ts'
import type { CaptureRecord } from './capture-record.ts'
import { followGrowingFile } from './growing-file.ts'
import { assertWhole, openStaged, publish } from './publish.ts'

export interface CaptureTools {
  readonly runtime: ContainerRuntime
  readonly freezeControl: FreezeControl
  readonly freezeGuard: FreezeGuard
  readonly staging: Staging
  readonly checkpointsDirectory: string
  readonly clock: Clock
  readonly logger: Logger
  readonly diskFloor: DiskFloor
  readonly runtimeName: () => string | undefined
  /** Overrides the factor by engine. */
  readonly sizeFactor: number | undefined
  /** Bytes that captures under way may still need; kept here, as they share the disk. */
  readonly reservations: Set<{ readonly bytes: number }>
}

export interface CaptureOrder {
  readonly stagingId: string
  readonly pin: boolean
  readonly reason: string | undefined
  readonly requestedBy: string
  /** Aborted with a `CaptureFailure` as its reason: that is how the capture ends, unless the runtime finished all the same. */
  readonly signal: AbortSignal
  /** Told when the container must be left alone for a while, though this capture has ended. */
  readonly holdUntil: (settled: Promise<unknown>) => void
}

/** A dump of so many bytes a second is slow even for a busy disk: a pause that is longer is no longer the dump's. */
const SLOW_BYTES_PER_SECOND = 40 * 1024 * 1024
const SHORTEST_DUMP_MS = 5_000
/** What an archive holds beside memory and files. */
const ARCHIVE_OVERHEAD_BYTES = 2 * 1024 * 1024

/** Takes the checkpoint of one container. Never throws: how it ends is in the record. */
export async function runCapture(record: CaptureRecord, order: CaptureOrder, tools: CaptureTools): Promise<void> {
  const { stagingId, signal } = order
  const { identity } = record.capture
  const reservation = { bytes: 0 }
  tools.reservations.add(reservation)
  try {
    signal.throwIfAborted()
    const { dumpMayTakeMs } = await record.phase('admission', async () => {
      const need = await admit(identity.containerId, tools)
      reservation.bytes = need.diskBytes
      return need
    })
    const wasPaused = (await lookOnce(identity.containerId, tools)) === 'frozen'
    signal.throwIfAborted()
    tools.freezeGuard.release(identity.containerId)
    record.trace({ stagingId, wasPaused, dumpMayTakeMs })
    record.enter('running')
    failPoint('capture.admitted')

    const takenAt = tools.clock.now()
    const location = await tools.staging.create(stagingId)
    failPoint('capture.staged')
    await dump(record, { order, tools, location, wasPaused, dumpMayTakeMs })
    failPoint('capture.dumped')
    const archive = await seal(record, { order, tools, location, takenAt })
    record.succeed(archive)
    failPoint('capture.recorded')
  } catch (error) {
    const isGivenUp = signal.aborted && error === signal.reason
    const failure = isGivenUp ? (signal.reason as CaptureFailure) : toCaptureFailure(error)
    record.end(isGivenUp && failure !== TIMED_OUT ? 'cancelled' : 'failed', failure)
    tools.logger.warn({ ...identity, jobId: record.jobId, failure }, 'A capture failed')
  } finally {
    tools.reservations.delete(reservation)
    await tools.staging.remove(stagingId).catch((error: unknown) => {
      tools.logger.error({ stagingId, error: errorText(error) }, 'Cannot clean the staging folder')
    })
  }
}

/** Everything that can refuse a capture, before the container is touched. */
export async function admit(
  containerId: string,
  { runtime, staging, checkpointsDirectory, diskFloor, reservations, ...tools }: CaptureTools,
): Promise<{ readonly diskBytes: number; readonly dumpMayTakeMs: number }> {
  staging.prepare()
  const [container, usage, disk] = await Promise.all([
    runtime.findContainer(containerId),
    // A runtime without figures is no reason to refuse: the floor alone still holds.
    runtime.listUsage(containerId).catch(() => undefined),
    readDiskSpace(checkpointsDirectory),
  ])
  if (container?.state !== 'running') {
    throw new ConflictError('Cannot checkpoint the container: it is not running any more', {
      code: 'ContainerNotRunning',
      hint: 'Look at the pod again; a restarted container is another one.',
    })
  }
  const { memoryBytes = 0, writableLayerBytes = 0 } = usage?.get(containerId) ?? {}
  const archiveBytes = memoryBytes + writableLayerBytes + ARCHIVE_OVERHEAD_BYTES
  const diskBytes = Math.ceil(archiveBytes * (tools.sizeFactor ?? sizeFactor(tools.runtimeName())))
  const reserved = [...reservations].reduce((sum, { bytes }) => sum + bytes, 0)
  assertRoom(diskBytes + reserved, diskFloor, disk)
  return { diskBytes, dumpMayTakeMs: SHORTEST_DUMP_MS + Math.ceil((archiveBytes / SLOW_BYTES_PER_SECOND) * 1000) }
}

interface Dump {
  readonly order: CaptureOrder
  readonly tools: CaptureTools
  readonly location: string
  readonly wasPaused: boolean
  readonly dumpMayTakeMs: number
}

/** Returns once the runtime has written the archive. A cancelled call may still leave a whole one: then it returns too. */
async function dump(record: CaptureRecord, { order, tools, location, wasPaused, dumpMayTakeMs }: Dump): Promise<void> {
  const { containerId } = record.capture.identity
  const file = followGrowingFile(location, (bytes) => {
    record.setBytes(bytes)
  })
  try {
    await record.phase('dump', async () => {
      const call = tools.runtime.checkpoint(containerId, location, order.signal)
      setTimeout(() => {
        failPoint('capture.dumping')
      }, 50).unref()
      await call
    })
  } catch (error) {
    if (wasPaused) throw order.signal.aborted ? order.signal.reason : error
    const watch = tools.freezeGuard.watch(containerId, { reason: errorText(error), dumpMayTakeMs })
    if (!order.signal.aborted) {
      if ((await lookOnce(containerId, tools)) !== 'running') order.holdUntil(watch.settled)
      throw error
    }
    const end = await awaitAbandonedDump({ settled: watch.settled, staging: tools.staging, stagingId: order.stagingId })
    if (end !== 'whole') throw order.signal.reason
  } finally {
    await file.stop()
  }
}

async function seal(
  record: CaptureRecord,
  {
    order,
    tools,
    location,
    takenAt,
  }: { readonly order: CaptureOrder; readonly tools: CaptureTools; readonly location: string; readonly takenAt: Date },
): Promise<CapturedArchive> {
  record.enter('sealing')
  const { identity } = record.capture
  const directory = tools.checkpointsDirectory
  await using file = await openStaged(location)
  const sizeBytes = await record.phase('verify', async () => {
    await file.chmod(0o600)
    return await assertWhole(file)
  })
  failPoint('capture.verified')
  await record.phase('sync', () => file.sync())
  failPoint('capture.synced')
  const publishedInode = (await file.stat()).ino
  const fileName = await record.phase('publish', () =>
    publish({
      staged: location,
      directory,
      parts: { ...identity, takenAt },
      onName: (publishedName) => {
        record.trace({ publishedName, publishedInode })
      },
    }),
  )
  if (order.pin) await pinOrWarn(directory, fileName, order, tools)
  return { checkpointId: checkpointId(fileName), fileName, sizeBytes, takenAt }
}

/** The archive is safe already: a marker that cannot be written does not undo it. */
async function pinOrWarn(directory: string, fileName: string, order: CaptureOrder, tools: CaptureTools): Promise<void> {
  const note = { reason: order.reason, by: order.requestedBy, at: tools.clock.now() }
  await writePin(directory, fileName, note).catch((error: unknown) => {
    tools.logger.error({ fileName, error: errorText(error) }, 'Cannot pin the archive')
  })
}

async function lookOnce(containerId: string, { freezeControl }: CaptureTools): Promise<FreezeState> {
  return await freezeControl.look(containerId).catch((): FreezeState => 'unknown')
}
