import { setTimeout as sleep } from 'node:timers/promises'
import type { FreezeControl } from '../../runtime/freeze-control.ts'
import { PAUSED_HINT } from '../../runtime/failure-causes.ts'
import { ConflictError, UnavailableError } from '../../shared/errors.ts'

export interface FreezeLookTiming {
  /** Time during which an unknown state is checked again. */
  readonly lookForMs: number
  readonly lookEveryMs: number
}

const TIMING: FreezeLookTiming = { lookForMs: 3_000, lookEveryMs: 100 }

/**
 * Refuses a container that is already paused. A dump of it would fail, destroy another dump, or make that pause look
 * like the agent's. Returns false if the container was seen to run, so that a later pause belongs to the capture.
 * Returns undefined if the node cannot show pauses at all or the container is gone. Throws ConflictError
 * (`ContainerPaused`), or UnavailableError (`FreezeUnknown`) if the state is not known in time.
 */
export async function assertNotPaused(
  containerId: string,
  control: FreezeControl,
  { lookForMs, lookEveryMs }: FreezeLookTiming = TIMING,
): Promise<false | undefined> {
  const begun = performance.now()
  for (let looks = 1; ; looks += 1) {
    // Each check has the deadline of a call to the runtime. It gets no shorter one, which would cut off good answers on
    // a busy node.
    const state = await control.look(containerId).catch(() => undefined)
    if (state === 'running') return false
    if (state === 'gone') return undefined
    if (state === 'frozen') throw paused()
    if (looks === 1 && state === 'unknown' && (await control.isBlind(containerId).catch(() => false))) return undefined
    const isOver = performance.now() - begun >= lookForMs
    // A late answer does not predict the next one.
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
