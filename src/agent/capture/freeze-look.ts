import { setTimeout as sleep } from 'node:timers/promises'
import type { FreezeControl } from '../../runtime/freeze-control.ts'
import { PAUSED_HINT } from '../../runtime/failure-causes.ts'
import { ConflictError, UnavailableError } from '../../shared/errors.ts'

export interface FreezeLookTiming {
  /** How long a state that nobody knows is asked for again. */
  readonly lookForMs: number
  readonly lookEveryMs: number
}

const TIMING: FreezeLookTiming = { lookForMs: 3_000, lookEveryMs: 100 }

/**
 * Refuses a container that is paused already: a dump of it would fail, destroy the dump that somebody else is taking,
 * or make their pause look like ours. Returns false when it was seen to run, so that a later pause is the capture's;
 * undefined where this node cannot see pauses at all, or the container is gone. Throws a ConflictError
 * (`ContainerPaused`), or an UnavailableError (`FreezeUnknown`) when nobody could tell in time.
 */
export async function assertNotPaused(
  containerId: string,
  control: FreezeControl,
  { lookForMs, lookEveryMs }: FreezeLookTiming = TIMING,
): Promise<false | undefined> {
  const end = performance.now() + lookForMs
  for (;;) {
    const state = await within(end - performance.now(), control.look(containerId), 'unknown' as const)
    if (state === 'running') return false
    if (state === 'gone') return undefined
    if (state === 'frozen') throw paused()
    if (await within(end - performance.now(), control.isBlind(containerId), false)) return undefined
    if (performance.now() + lookEveryMs >= end) throw unknown()
    await sleep(lookEveryMs)
  }
}

/** While runc works, containerd keeps whoever asks for the task waiting for longer than a caller should. */
async function within<T>(ms: number, answer: Promise<T>, otherwise: T): Promise<T> {
  const over = new AbortController()
  const limit = sleep(Math.max(0, ms), otherwise, { signal: over.signal }).catch(() => otherwise)
  try {
    return await Promise.race([answer.catch(() => otherwise), limit])
  } finally {
    over.abort()
  }
}

function paused(): ConflictError {
  return new ConflictError('Cannot checkpoint the container: it is paused already', {
    code: 'ContainerPaused',
    hint: PAUSED_HINT,
  })
}

function unknown(): UnavailableError {
  return new UnavailableError('Cannot checkpoint the container: the runtime does not say whether it is paused', {
    code: 'FreezeUnknown',
    hint: 'Ask again in a few seconds. Another checkpoint of it may be under way, or the runtime is overloaded; see its log on the node if this stays.',
  })
}
