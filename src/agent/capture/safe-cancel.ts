import { setTimeout as sleep } from 'node:timers/promises'
import type { FreezeControl } from '../../runtime/freeze-control.ts'

export interface SafeCancelOptions {
  readonly containerId: string
  readonly control: Pick<FreezeControl, 'look'>
  /** Aborts when the capture is no longer wanted. */
  readonly wanted: AbortSignal
}

/** Longest time to wait for a pause. `runc pause` takes some tens of milliseconds, or more on a busy node. */
const PAUSE_TAKES_AT_MOST_MS = 3_000
const LOOK_EVERY_MS = 25

/**
 * Returns a signal for the call to the runtime. It follows `wanted`, but not while the runtime is about to pause the
 * container. containerd (2.1 and 2.4) ensures the resume only after the pause has returned, so a caller that leaves
 * earlier leaves the container frozen for good.
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
    // The shim finishes the pause a moment before the runtime knows.
    await sleep(LOOK_EVERY_MS)
    cancel.abort()
  }
  wanted.addEventListener('abort', () => void follow(), { once: true })
  if (wanted.aborted) void follow()
  return cancel.signal
}
