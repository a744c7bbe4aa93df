import type { ContainerIdentity } from './identity.ts'

/**
 * State of a capture. `queued`: the container has not been touched. `running`: the runtime is
 * dumping it. `sealing`: the dump is complete and the archive is being checked, synced and
 * published. `unknown-outcome`: the agent stopped during the capture and no archive was left.
 */
export type CaptureState = 'queued' | 'running' | 'sealing' | 'succeeded' | 'failed' | 'cancelled' | 'unknown-outcome'

export type CapturePhaseName = 'admission' | 'dump' | 'verify' | 'sync' | 'publish'

export interface CapturePhase {
  readonly name: CapturePhaseName
  readonly startedAt: Date
  readonly millis: number
}

/** The cause of a failed capture, as stored and shown. */
export interface CaptureFailure {
  readonly code: string
  readonly detail: string
  readonly hint?: string
  readonly runtimeMessage?: string
  /**
   * Text that the kubelet would report within the parentheses of `checkpointing of … failed (…)`.
   */
  readonly kubeletText?: string
  /**
   * True if staging still holds an archive that is or may be complete. The agent publishes it at
   * its next start.
   */
  readonly isArchiveKept?: boolean
}

/** The archive that a capture produced. */
export interface CapturedArchive {
  readonly checkpointId: string
  readonly fileName: string
  readonly sizeBytes: number
  readonly takenAt: Date
}

/** The capture of one container, from the queue to its result or its recovery. */
export interface ContainerCapture {
  readonly identity: ContainerIdentity
  readonly state: CaptureState
  readonly startedAt?: Date
  readonly finishedAt?: Date
  readonly bytesWritten: number
  readonly phases: readonly CapturePhase[]
  readonly archive?: CapturedArchive
  readonly failure?: CaptureFailure
}

/**
 * A capture request and its result: one container, or all running containers of a pod in sequence.
 */
export interface CaptureJob {
  readonly id: string
  readonly requestedBy: string
  readonly wholePod: boolean
  readonly reason?: string
  readonly pin: boolean
  readonly queuedAt: Date
  readonly captures: readonly ContainerCapture[]
}

const FINAL: ReadonlySet<CaptureState> = new Set(['succeeded', 'failed', 'cancelled', 'unknown-outcome'])

export function isFinal(state: CaptureState): boolean {
  return FINAL.has(state)
}

/**
 * Computes the state of the job. A job ends with its last capture, and its worst capture determines
 * the result.
 */
export function jobState(job: CaptureJob): CaptureState {
  const states = job.captures.map((capture) => capture.state)
  if (states.every(isFinal)) {
    return (['failed', 'unknown-outcome', 'cancelled'] as const).find((state) => states.includes(state)) ?? 'succeeded'
  }
  if (states.every((state) => state === 'queued')) return 'queued'
  return states.includes('sealing') ? 'sealing' : 'running'
}

/** Returns how long the runtime took for the dump; empty if unknown. */
export function dumpTimeOf({ phases }: Pick<ContainerCapture, 'phases'>): { readonly dumpMillis?: number } {
  const dump = phases.find(({ name }) => name === 'dump')
  return dump === undefined ? {} : { dumpMillis: dump.millis }
}
