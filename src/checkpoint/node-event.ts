import type { CaptureJob } from './capture-job.ts'
import type { Checkpoint } from './checkpoint.ts'

/** A change to the archives or captures of this node. */
export interface NodeEvent {
  /** Event id, on a single line. */
  readonly id: string
  /** `resync`: events were missed; list the checkpoints again. */
  readonly type: 'added' | 'changed' | 'removed' | 'capture' | 'resync'
  readonly checkpoint?: Checkpoint
  readonly checkpointId?: string
  /** Namespace of a removed checkpoint. */
  readonly namespace?: string
  readonly job?: CaptureJob
}
