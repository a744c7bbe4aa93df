import { setTimeout as sleep } from 'node:timers/promises'
import type { FreezeControl } from '../../runtime/freeze-control.ts'

export interface SafeCancelOptions {
  readonly containerId: string
  readonly control: Pick<FreezeControl, 'look'>
  /** Aborted when the capture is not wanted any more. */
  readonly wanted: AbortSignal
}

/** `runc pause` takes some tens of milliseconds, longer on a busy node. */
const PAUSE_TAKES_AT_MOST_MS = 3_000
const LOOK_EVERY_MS = 25

/**
 * A signal for the runtime's call that follows `wanted`, but not while the runtime is about to pause the container:
 * containerd (2.1 and 2.4) promises itself the resume only after the pause has returned, so a caller who leaves in
 * between leaves the container frozen for good.
 */
export function cancelSafely({ containerId, control, wanted }: SafeCancelOptions): AbortSignal {
  const begun = performance.now()
  const cancel = new AbortController()
  const follow = async () => {
    while (performance.now() - begun < PAUSE_TAKES_AT_MOST_MS) {
      const state = await control.look(containerId).catch(() => 'unknown' as const)
      if (state !== 'running') break
      await sleep(LOOK_EVERY_MS)
    }
    // The shim is through with the pause a moment before the runtime knows.
    await sleep(LOOK_EVERY_MS)
    cancel.abort()
  }
  wanted.addEventListener('abort', () => void follow(), { once: true })
  if (wanted.aborted) void follow()
  return cancel.signal
}
