import type { CaptureJob } from '../checkpoint/capture-job.ts'
import type { Checkpoint } from '../checkpoint/checkpoint.ts'
import type { ContainerIdentity } from '../checkpoint/identity.ts'
import type { Problem } from '../checkpoint/problem.ts'

/** What the routes need of the agent. `agent/` provides it; tests pass plain functions. */
export interface HttpServices {
  readonly node: { readonly status: () => Promise<NodeStatus> }
  readonly containers: { readonly listRunning: () => Promise<readonly RunningContainer[]> }
  readonly captures: CaptureServices
  readonly checkpoints: CheckpointServices
  readonly kubelet: KubeletServices
  readonly health: HealthServices
  readonly metrics: () => Promise<{ readonly contentType: string; readonly text: string }>
}

export interface CaptureRequest {
  readonly namespace: string
  readonly pod: string
  readonly container?: string
  readonly podUid?: string
  readonly reason?: string
  readonly pin?: boolean
  readonly requestedBy: string
}

export interface CaptureServices {
  /**
   * Looks the pod up, admits and queues it. Throws NotFoundError (`PodNotFound`, `ContainerNotFound`), ConflictError
   * (`ContainerNotRunning`, `CaptureInFlight` with `extra.job`, `PodUidMismatch`), UnavailableError (`QueueFull`,
   * `ShuttingDown`, `RuntimeUnavailable`), OutOfSpaceError (`DiskFloor`), RuntimeFailureError.
   */
  readonly request: (request: CaptureRequest) => Promise<CaptureJob>
  /**
   * Resolves when the job is final, the time is over or the signal aborts (it may have aborted already); with the job
   * as it is then. `timeoutMs` 0 does not wait at all.
   */
  readonly wait: (
    jobId: string,
    options: { readonly timeoutMs?: number; readonly signal?: AbortSignal },
  ) => Promise<CaptureJob>
  /** Newest first. */
  readonly list: (page: { readonly limit: number; readonly before?: string }) => {
    readonly jobs: readonly CaptureJob[]
    readonly remaining: number
  }
  /** Throws NotFoundError. */
  readonly get: (jobId: string) => CaptureJob
  /** Resolves once the job is final. Throws NotFoundError, ConflictError (`CaptureFinished`). */
  readonly cancel: (jobId: string) => Promise<CaptureJob>
}

/** What is known of the archives on this node. */
export interface CheckpointServices {
  /** The page after the cursor; `next` is undefined on the last one. */
  readonly list: (query: CheckpointListQuery) => CheckpointListPage | Promise<CheckpointListPage>
  /** Throws NotFoundError (`CheckpointNotFound`). */
  readonly get: (id: string) => Checkpoint | Promise<Checkpoint>
  /** Reads the archive. Throws NotFoundError. The signal aborts when nobody waits for the answer any more. */
  readonly members: (
    id: string,
    page: { readonly skip: number; readonly limit: number; readonly signal: AbortSignal },
  ) => Promise<{
    readonly members: readonly CheckpointMember[]
    readonly remaining: number
    readonly problems: readonly Problem[]
  }>
  /**
   * Events after `lastEventId`, then live ones; without it live ones only. Where that event is not known any more,
   * `resync` comes first. `onEvent` may be called at once. Returns what ends it.
   */
  readonly watch: (lastEventId: string | undefined, onEvent: (event: NodeEvent) => void) => () => void
}

export interface CheckpointListPage {
  readonly items: readonly Checkpoint[]
  readonly remaining: number
  readonly next: CheckpointCursor | undefined
}

/** Every filter that is given must hold. */
export interface CheckpointListFilter {
  readonly namespace?: string
  readonly pod?: string
  readonly container?: string
  readonly podUid?: string
  readonly engine?: string
  readonly state?: string
  readonly identitySource?: string
  readonly pinned?: boolean
  /** Exclusive. */
  readonly takenAfter?: Date
  /** Exclusive. */
  readonly takenBefore?: Date
  readonly minBytes?: number
}

export interface CheckpointListQuery {
  readonly filter: CheckpointListFilter
  readonly order: {
    readonly key: 'takenAt' | 'discoveredAt' | 'sizeBytes' | 'fileName'
    readonly isDescending: boolean
  }
  readonly after?: CheckpointCursor
  readonly limit: number
}

/** The last row of a page: what it is sorted by, and its id. */
export interface CheckpointCursor {
  readonly value: string | number
  readonly id: string
}

export interface CheckpointMember {
  readonly name: string
  readonly type: string
  readonly sizeBytes: number
  readonly offset: number
  readonly modifiedSeconds: number
  readonly modifiedNanos: number
  readonly linkName?: string
}

export interface NodeEvent {
  /** A single line. */
  readonly id: string
  /** `resync`: events were lost, the list has to be read anew. */
  readonly type: 'added' | 'changed' | 'removed' | 'capture' | 'resync'
  readonly checkpoint?: Checkpoint
  readonly checkpointId?: string
  readonly job?: CaptureJob
}

/** The kubelet's endpoint in three questions, in the order in which the kubelet asks them. */
export interface KubeletServices {
  /** Whether the route exists at all (`kubelet.enabled`). */
  readonly enabled: boolean
  /** `pod`: no such pod here; `container`: the pod has no such container; an error: the runtime could not be asked. */
  readonly lookUp: (
    namespace: string,
    pod: string,
    container: string,
  ) => Promise<'pod' | 'container' | 'found' | { readonly error: string }>
  /**
   * Takes the checkpoint, waiting in the queue behind a capture of the same container. The wait ends after `timeoutMs`
   * or with the signal, the capture does not. Answers with the absolute path, or with the text of the kubelet's error.
   */
  readonly checkpoint: (
    request: KubeletCheckpointRequest,
  ) => Promise<{ readonly path: string } | { readonly error: string }>
  /** `capture.minimumWait` in seconds. */
  readonly minimumWaitSeconds: number
}

export interface KubeletCheckpointRequest {
  readonly namespace: string
  readonly pod: string
  readonly container: string
  /**
   * Undefined: the caller's timeout was negative, which the kubelet refuses only after it has found the container
   * running. 0: the time is over before it begins, so nothing is captured. Never more than a timer can hold.
   */
  readonly timeoutMs: number | undefined
  readonly requestedBy: string
  readonly signal: AbortSignal
}

export interface RunningContainer {
  readonly identity: ContainerIdentity
  readonly image: string
  readonly startedAt: Date | undefined
  readonly memoryBytes: number | undefined
  readonly writableLayerBytes: number | undefined
  readonly lastCheckpoint: { readonly id: string; readonly takenAt: Date } | undefined
  /** The id of the job. */
  readonly captureInFlight: string | undefined
}

export interface NodeStatus {
  readonly node: string
  readonly agentVersion: string
  readonly runtime: { readonly name: string; readonly version: string } | undefined
  readonly canCheckpoint: {
    readonly state: 'yes' | 'no' | 'unknown'
    readonly code?: string
    readonly reason?: string
    readonly hint?: string
    readonly checkedAt?: Date
  }
  readonly disk: {
    readonly totalBytes: number
    readonly freeBytes: number
    readonly archiveBytes: number
    readonly floorBytes: number
  }
  readonly checkpoints: { readonly count: number; readonly byState: Readonly<Record<string, number>> }
  readonly captures: { readonly running: number; readonly queued: number; readonly queueLimit: number }
  readonly freezeGuard: {
    readonly policy: 'report' | 'resume'
    /** Containers somebody else left frozen; counts only, no names. */
    readonly frozenNow: number
    readonly resumedTotal: number
    readonly foreignResumedTotal: number
    readonly canLook: boolean
  }
  readonly tlsFingerprint: string | undefined
}

export interface HealthCheck {
  readonly name: string
  /** `degraded` is shown, and does not make the agent unready. */
  readonly state: 'ok' | 'degraded' | 'failed'
  readonly detail?: string
}

export interface HealthServices {
  readonly isAlive: () => boolean
  readonly checks: () => readonly HealthCheck[]
}
