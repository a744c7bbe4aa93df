import { dumpTimeOf } from '../../checkpoint/capture-job.ts'
import { lstat } from 'node:fs/promises'
import { join } from 'node:path'
import type { JobStore } from '../../store/job-store.ts'
import { isSystemError } from '../../shared/errors.ts'
import type { CaptureCustody } from './capture-custody.ts'
import type { Custody } from './custody.ts'

export interface MissedOutcomeSources {
  readonly store: Pick<JobStore, 'list'>
  readonly custody: Pick<Custody, 'knowsCaptureOf'>
  readonly captures: Pick<CaptureCustody, 'succeed'>
  readonly checkpointsDirectory: string
}

/**
 * Captures to check. An outcome is missing if the agent died just before it was written, or if it was queued in memory
 * then.
 */
const JOBS_TO_LOOK_AT = 1_000

/** Records captures that the index knows and the custody log does not. */
export async function recordMissedOutcomes(sources: MissedOutcomeSources): Promise<void> {
  const { store, custody, captures, checkpointsDirectory } = sources
  for (const { id, requestedBy, reason, captures: taken } of store.list({ limit: JOBS_TO_LOOK_AT }).jobs) {
    for (const capture of taken) {
      const { identity, archive, state } = capture
      if (state !== 'succeeded' || archive === undefined || custody.knowsCaptureOf(archive.checkpointId)) continue
      const stat = await lstat(join(checkpointsDirectory, archive.fileName)).catch(undefinedIfMissing)
      if (stat?.isFile() !== true || stat.size !== archive.sizeBytes) continue
      const subject = { jobId: id, identity, actor: { user: requestedBy, groups: [] }, reason }
      await captures.succeed(subject, archive, { inode: stat.ino, modifiedAt: stat.mtime }, dumpTimeOf(capture))
    }
  }
}

function undefinedIfMissing(error: unknown): undefined {
  if (isSystemError(error, 'ENOENT')) return undefined
  throw error
}
