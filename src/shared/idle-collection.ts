import { performance } from 'node:perf_hooks'

/** Time between checks whether the process is idle. */
const LOOK_MS = 2_000
/** Largest share of busy time since the last check that counts as idle. */
const IDLE_SHARE = 0.05
/**
 * Busy time that makes a collection worthwhile. An idle agent reaches it only once in some minutes.
 */
const WORK_MS = 500

export interface IdleCollectionOptions {
  readonly collect?: (() => unknown) | undefined
  /** Returns the time that the event loop has been busy since the process started. */
  readonly busyMs?: () => number
}

/**
 * Collects garbage once a busy process is idle again. V8 keeps the heap as large as a burst of work
 * made it, because it reconsiders only on allocation. A collection takes about 70 ms and frees 9
 * MiB in an agent that has read 10,000 archives, and 5 MiB in its reader. Does nothing without
 * Node.js's `--expose-gc`.
 */
export function collectWhenIdle({ collect = collector(), busyMs = eventLoopBusyMs }: IdleCollectionOptions = {}): void {
  if (collect === undefined) return
  let lastBusyMs = busyMs()
  let collectedAtMs = 0
  setInterval(() => {
    const now = busyMs()
    const isIdle = now - lastBusyMs < LOOK_MS * IDLE_SHARE
    lastBusyMs = now
    if (!isIdle || now - collectedAtMs < WORK_MS) return
    collect()
    // Excludes the collection itself from the work that triggers the next one.
    lastBusyMs = collectedAtMs = busyMs()
  }, LOOK_MS).unref()
}

/** Only a last-resort collection returns all free pages at the same time. */
function collector(): (() => void) | undefined {
  const { gc } = globalThis
  return gc && (() => gc({ type: 'major', execution: 'sync', flavor: 'last-resort' }))
}

function eventLoopBusyMs(): number {
  return performance.eventLoopUtilization().active
}
