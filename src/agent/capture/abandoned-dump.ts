import { setTimeout as sleep } from 'node:timers/promises'
import type { FreezeOutcome } from '../../runtime/freeze-guard.ts'
import type { Staging } from '../directory/staging.ts'
import { assertWhole, isUnchecked, openStaged } from './publish.ts'
import type { StagedCheck } from './staged-check.ts'

export interface AbandonedDump {
  /** When the container has been seen to run on. */
  readonly settled: Promise<FreezeOutcome>
  readonly staging: Staging
  readonly stagingId: string
  readonly stagedCheck: StagedCheck
}

const LOOK_EVERY_MS = 250
/** A file that has not grown for so long is not being written any more. */
const QUIET_MS = 1_500

/** `whole`: a whole archive lies in staging. `stopped`: the agent is ending, and the next one has to look again. */
export type AbandonedDumpEnd = 'whole' | 'nothing' | 'stopped'

/**
 * Waits for the end of a dump that nobody waits for any more: a runtime may finish it and write the archive all the
 * same. Throws an UnavailableError (`ArchiveUnchecked`) where nobody can tell what was left.
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
  /** Resolves with true when a dump of this size cannot be running any more, with false when the agent ends first. */
  readonly over: Promise<boolean>
  readonly staging: Staging
  readonly stagingId: string
  readonly stagedCheck: StagedCheck
}

/**
 * Waits for the end of a dump whose answer is lost, on a runtime that goes on whatever its caller does: it is over when
 * the archive is whole and grows no more, or when it has had its time. That the container seems to run says nothing:
 * CRIU thaws it for most of a long dump. Throws an UnavailableError (`ArchiveUnchecked`) where nobody can tell what was
 * left.
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

/** A timer that says, when the agent ends before it, that it did not run to its end. */
export async function passes(ms: number, closed: AbortSignal): Promise<boolean> {
  return await sleep(ms, true, { signal: closed, ref: false }).catch(() => false)
}

/** Throws where it cannot be found out. */
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
