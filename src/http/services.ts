import type { RetentionServices } from './retention-services.ts'
import type { CaptureServices, KubeletServices } from './capture-services.ts'
import type { CheckpointActions, CheckpointServices } from './checkpoint-services.ts'
import type { ContentServices } from './content-services.ts'
import type { CustodyServices } from './custody-services.ts'
import type { HealthServices, NodeStatus, RunningLook } from './node-services.ts'

/** Services that the routes need. `agent/` provides them; tests pass plain functions. */
export interface HttpServices {
  readonly node: { readonly status: () => Promise<NodeStatus> }
  readonly containers: { readonly look: () => Promise<RunningLook> }
  readonly captures: CaptureServices
  readonly checkpoints: CheckpointServices
  readonly actions: CheckpointActions
  readonly contents: ContentServices
  readonly custody: CustodyServices
  readonly retention: RetentionServices
  readonly kubelet: KubeletServices
  readonly health: HealthServices
  readonly metrics: () => Promise<{ readonly contentType: string; readonly text: string }>
}
