import type { ContainerIdentity } from './identity.ts'

/**
 * `queued`: nothing has touched the container. `running`: the runtime was asked. `sealing`: the runtime is done, the
 * archive is being checked, synced and published. `unknown-outcome`: the agent died meanwhile and no archive was left.
 */
export type CaptureState = 'queued' | 'running' | 'sealing' | 'succeeded' | 'failed' | 'cancelled' | 'unknown-outcome'

export type CapturePhaseName = 'admission' | 'dump' | 'verify' | 'sync' | 'publish'

export interface CapturePhase {
  readonly name: CapturePhaseName
  readonly startedAt: Date
  readonly millis: number
}

/** Why a capture failed, as it is kept and shown. */
export interface CaptureFailure {
  readonly code: string
  readonly detail: string
  readonly hint?: string
  readonly runtimeMessage?: string
  /** What the kubelet would have said between the brackets of `checkpointing of … failed (…)`. */
  readonly kubeletText?: string
  /** The archive is whole, or may be: it lies in staging, and the next start of the agent publishes it. */
  readonly isArchiveKept?: boolean
}

/** The archive that a capture left behind. */
export interface CapturedArchive {
  readonly checkpointId: string
  readonly fileName: string
  readonly sizeBytes: number
  readonly takenAt: Date
}

/** The capture of one container: what is queued, run, recovered. */
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

/** What was asked for and what became of it: one container, or every running container of a pod, one after the other. */
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

/** The state of the job as a whole: it ends when its last capture ends, and its worst capture names the end. */
export function jobState(job: CaptureJob): CaptureState {
  const states = job.captures.map((capture) => capture.state)
  if (states.every(isFinal)) {
    return (['failed', 'unknown-outcome', 'cancelled'] as const).find((state) => states.includes(state)) ?? 'succeeded'
  }
  if (states.every((state) => state === 'queued')) return 'queued'
  return states.includes('sealing') ? 'sealing' : 'running'
}

/** How long the runtime took for the dump; empty where that is not known. */
export function dumpTimeOf({ phases }: Pick<ContainerCapture, 'phases'>): { readonly dumpMillis?: number } {
  const dump = phases.find(({ name }) => name === 'dump')
  return dump === undefined ? {} : { dumpMillis: dump.millis }
}
