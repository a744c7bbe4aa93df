/** Steps of a capture at which a test can kill the agent, as a power failure would. */
export const FAIL_POINTS = [
  'capture.queued',
  'capture.admitted',
  'capture.staged',
  'capture.intended',
  'capture.dumping',
  'capture.dumped',
  'capture.verified',
  'capture.synced',
  'capture.named',
  'capture.marked',
  'capture.linked',
  'capture.published',
  'capture.unlinked',
  'capture.recorded',
] as const

/** Steps of a sweep at which a test can kill the agent. */
export const SWEEP_FAIL_POINTS = [
  'sweep.planned',
  'sweep.announced',
  'sweep.unlinked',
  'sweep.flushed',
  'sweep.noted',
  'sweep.forgotten',
  'sweep.reported',
] as const

export type FailPoint = (typeof FAIL_POINTS)[number]
export type SweepFailPoint = (typeof SWEEP_FAIL_POINTS)[number]

let armed: string | undefined
let passesLeft = 0

/**
 * Arms a fail point; for tests only, through `debug.failPoint`. A suffix such as `-3` delays it to
 * the third pass.
 */
export function armFailPoint(text: string): void {
  const [name, pass] = text.split('-')
  armed = name
  passesLeft = Number(pass ?? 1)
}

/** Kills the process immediately if this point is armed: no handler runs and nothing is flushed. */
export function failPoint(name: FailPoint | SweepFailPoint): void {
  if (name !== armed) return
  passesLeft -= 1
  if (passesLeft === 0) process.kill(process.pid, 'SIGKILL')
}
