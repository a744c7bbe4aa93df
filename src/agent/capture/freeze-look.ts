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
  const begun = performance.now()
  for (let looks = 1; ; looks += 1) {
    // A look ends by itself, as every call to the runtime; it is not cut short, since a busy agent would cut good ones.
    const state = await control.look(containerId).catch(() => undefined)
    if (state === 'running') return false
    if (state === 'gone') return undefined
    if (state === 'frozen') throw paused()
    if (looks === 1 && state === 'unknown' && (await control.isBlind(containerId).catch(() => false))) return undefined
    const isOver = performance.now() - begun >= lookForMs
    // An answer that came late says nothing of a second one.
    if (isOver && (looks > 1 || state === undefined)) throw unknown()
    await sleep(lookEveryMs)
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
