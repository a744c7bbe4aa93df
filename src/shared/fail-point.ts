/** The steps of a capture at which a test can let the agent die, as a power cut would. */
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

/** The same for a sweep. */
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

/** Only for tests, through `debug.failPoint`: the name of a point, and `-3` behind it for the third time it is passed. */
export function armFailPoint(text: string): void {
  const [name, pass] = text.split('-')
  armed = name
  passesLeft = Number(pass ?? 1)
}

/** Ends the process on the spot when this point is armed: no handler runs, nothing is flushed. */
export function failPoint(name: FailPoint | SweepFailPoint): void {
  if (name !== armed) return
  passesLeft -= 1
  if (passesLeft === 0) process.kill(process.pid, 'SIGKILL')
}
