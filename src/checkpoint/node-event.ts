import type { CaptureJob } from './capture-job.ts'
import type { Checkpoint } from './checkpoint.ts'

/** A change to the archives or captures of this node. */
export interface NodeEvent {
  /** A single line. */
  readonly id: string
  /** `resync`: events were missed; read the list again. */
  readonly type: 'added' | 'changed' | 'removed' | 'capture' | 'resync'
  readonly checkpoint?: Checkpoint
  readonly checkpointId?: string
  /** The namespace that the removed checkpoint belonged to. */
  readonly namespace?: string
  readonly job?: CaptureJob
}
