import { AGENT_ACTOR } from '../../custody/custody-entry.ts'
import type { ResumeEntry } from '../../runtime/recorded-resume.ts'
import { withoutHostPaths } from '../../shared/host-paths.ts'
import type { Custody } from './custody.ts'

/**
 * Records that a container is about to be resumed, and the result. Returns at once because the container is resumed
 * whatever the disk does. Entries keep their order.
 */
export function recordResume(custody: Pick<Custody, 'note'>, entry: ResumeEntry): void {
  const { containerId, origin, outcome, reason, frozenMs, error, about } = entry
  const detail = {
    containerId,
    origin,
    reason: withoutHostPaths(reason),
    frozenMillis: frozenMs,
    ...(error !== undefined && { error: withoutHostPaths(error) }),
    ...about,
  }
  void custody.note({ actor: AGENT_ACTOR, action: 'freeze.resume', detail, outcome })
}
