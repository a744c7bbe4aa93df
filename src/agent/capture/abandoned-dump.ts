import { setTimeout as sleep } from 'node:timers/promises'
import type { FreezeOutcome } from '../../runtime/freeze-guard.ts'
import type { Staging } from '../staging.ts'
import { assertWhole, openStaged } from './publish.ts'

export interface AbandonedDump {
  /** When the container has been seen to run on. */
  readonly settled: Promise<FreezeOutcome>
  readonly staging: Staging
  readonly stagingId: string
}

const LOOK_EVERY_MS = 250
/** A file that has not grown for so long is not being written any more. */
const QUIET_MS = 1_500

/** `whole`: a whole archive lies in staging. `stopped`: the agent is ending, and the next one has to look again. */
export type AbandonedDumpEnd = 'whole' | 'nothing' | 'stopped'

/**
 * Waits for the end of a dump that nobody waits for any more: a runtime may finish it and write the archive all the
 * same.
 */
export async function awaitAbandonedDump({ settled, staging, stagingId }: AbandonedDump): Promise<AbandonedDumpEnd> {
  if ((await settled) === 'stopped') return 'stopped'
  let size = await staging.bytesWritten(stagingId)
  let quietSince = performance.now()
  while (size !== undefined && performance.now() - quietSince < QUIET_MS) {
    await sleep(LOOK_EVERY_MS, undefined, { ref: false })
    const now = await staging.bytesWritten(stagingId)
    if (now !== size) quietSince = performance.now()
    size = now
    if (await isWhole(staging.archivePath(stagingId))) return 'whole'
  }
  return size !== undefined && (await isWhole(staging.archivePath(stagingId))) ? 'whole' : 'nothing'
}

async function isWhole(path: string): Promise<boolean> {
  try {
    await using file = await openStaged(path)
    await assertWhole(file)
    return true
  } catch {
    return false
  }
}
