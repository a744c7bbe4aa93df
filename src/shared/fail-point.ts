/** The steps of a capture at which a test can let the agent die, as a power cut would. */
export const FAIL_POINTS = [
  'capture.queued',
  'capture.admitted',
  'capture.staged',
  'capture.dumping',
  'capture.dumped',
  'capture.verified',
  'capture.synced',
  'capture.named',
  'capture.linked',
  'capture.unlinked',
  'capture.published',
  'capture.recorded',
] as const

export type FailPoint = (typeof FAIL_POINTS)[number]

let armed: string | undefined

/** Only for tests, through `debug.failPoint`. */
export function armFailPoint(name: string): void {
  armed = name
}

/** Ends the process on the spot when this point is armed: no handler runs, nothing is flushed. */
export function failPoint(name: FailPoint): void {
  if (name === armed) process.kill(process.pid, 'SIGKILL')
}
