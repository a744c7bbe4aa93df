import { setTimeout as sleep } from 'node:timers/promises'
import type { FreezeOutcome } from '../../runtime/freeze-guard.ts'
import type { Staging } from '../directory/staging.ts'
import { assertWhole, isUnchecked, openStaged } from './publish.ts'
import type { StagedCheck } from './staged-check.ts'

export interface AbandonedDump {
  /** Settles once the container has been seen to run again. */
  readonly settled: Promise<FreezeOutcome>
  readonly staging: Staging
  readonly stagingId: string
  readonly stagedCheck: StagedCheck
}

const LOOK_EVERY_MS = 250
/** A file that has not grown for this long is no longer being written. */
const QUIET_MS = 1_500

/**
 * End of the dump. `whole`: a whole archive is in staging. `stopped`: the agent is stopping, and its next run has to
 * check again.
 */
export type AbandonedDumpEnd = 'whole' | 'nothing' | 'stopped'

/**
 * Waits for the end of a dump after its caller gave up. The runtime may still finish it and write the archive. Throws
 * UnavailableError (`ArchiveUnchecked`) if the remaining file cannot be checked.
 */
export async function awaitAbandonedDump({
  settled,
  staging,
  stagingId,
  stagedCheck,
}: AbandonedDump): Promise<AbandonedDumpEnd> {
  const isWhole = () => isWholeAt(staging.archivePath(stagingId), stagedCheck)
  if ((await settled) === 'stopped') return 'stopped'
  let size = await staging.bytesWritten(stagingId)
  let quietSince = performance.now()
  while (size !== undefined && performance.now() - quietSince < QUIET_MS) {
    await sleep(LOOK_EVERY_MS, undefined, { ref: false })
    const now = await staging.bytesWritten(stagingId)
    if (now !== size) quietSince = performance.now()
    size = now
    if (await isWhole().catch(() => false)) return 'whole'
  }
  return size !== undefined && (await isWhole()) ? 'whole' : 'nothing'
}

export interface UnansweredDump {
  /**
   * Resolves with true once a dump of this size can no longer be running, and with false if the agent stops before
   * that.
   */
  readonly over: Promise<boolean>
  readonly staging: Staging
  readonly stagingId: string
  readonly stagedCheck: StagedCheck
}

/**
 * Waits for the end of a dump whose answer is lost, on a runtime that ignores cancellation. The dump is over when the
 * archive is whole and no longer grows, or when its time is up. A running container proves nothing: CRIU keeps it
 * thawed for most of a long dump. Throws UnavailableError (`ArchiveUnchecked`) if the remaining file cannot be checked.
 */
export async function awaitUnansweredDump({
  over,
  staging,
  stagingId,
  stagedCheck,
}: UnansweredDump): Promise<AbandonedDumpEnd> {
  const isWhole = () => isWholeAt(staging.archivePath(stagingId), stagedCheck)
  let size: number | undefined
  let quietSince = performance.now()
  for (;;) {
    const isOver = await Promise.race([over, sleep(LOOK_EVERY_MS, undefined, { ref: false })])
    if (isOver === false) return 'stopped'
    if (isOver === true) return (await isWhole()) ? 'whole' : 'nothing'
    const now = await staging.bytesWritten(stagingId)
    if (now !== size) quietSince = performance.now()
    size = now
    const isQuiet = size !== undefined && performance.now() - quietSince >= QUIET_MS
    if (isQuiet && (await isWhole().catch(() => false))) return 'whole'
  }
}

/** Resolves with true after `ms`, or with false if the agent stops before that. */
export async function passes(ms: number, closed: AbortSignal): Promise<boolean> {
  return await sleep(ms, true, { signal: closed, ref: false }).catch(() => false)
}

/** Returns whether a whole archive is at the path. Throws if that cannot be determined. */
async function isWholeAt(path: string, stagedCheck: StagedCheck): Promise<boolean> {
  try {
    await using file = await openStaged(path)
    await assertWhole({ path, file, sizeBytes: (await file.stat()).size }, stagedCheck)
    return true
  } catch (error) {
    if (isUnchecked(error)) throw error
    return false
  }
}
