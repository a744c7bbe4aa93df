import type { CaptureJob } from '../checkpoint/capture-job.ts'
import type { Actor } from '../checkpoint/actor.ts'

export interface CaptureRequest {
  readonly namespace: string
  readonly pod: string
  readonly container?: string
  readonly podUid?: string
  readonly reason?: string
  readonly pin?: boolean
  readonly requestedBy: string
  readonly actor?: Actor
}

export interface CaptureServices {
  /**
   * Finds the pod, then admits and queues the capture. Throws NotFoundError (`PodNotFound`, `ContainerNotFound`),
   * ConflictError (`ContainerNotRunning`, `CaptureInFlight` with `extra.job`, `PodUidMismatch`), UnavailableError
   * (`QueueFull`, `ShuttingDown`, `RuntimeUnavailable`), OutOfSpaceError (`DiskFloor`) or RuntimeFailureError.
   */
  readonly request: (request: CaptureRequest) => Promise<CaptureJob>
  /**
   * Resolves with the current job when the job is final, the timeout expires or the signal aborts. The signal may have
   * aborted already. A `timeoutMs` of 0 returns at once.
   */
  readonly wait: (
    jobId: string,
    options: { readonly timeoutMs?: number; readonly signal?: AbortSignal },
  ) => Promise<CaptureJob>
  /** Lists jobs, newest first. `namespaces` restricts the page and also the `remaining` count. */
  readonly list: (page: {
    readonly limit: number
    readonly before?: string
    readonly namespaces?: readonly string[]
  }) => { readonly jobs: readonly CaptureJob[]; readonly remaining: number }
  /** Lists the distinct namespaces of all jobs. */
  readonly namespaces: () => readonly string[]
  /** Returns the job. Throws NotFoundError. */
  readonly get: (jobId: string) => CaptureJob
  /** Cancels a job and resolves once it is final. Throws NotFoundError or ConflictError (`CaptureFinished`). */
  readonly cancel: (jobId: string) => Promise<CaptureJob>
}

/** The operations behind the kubelet's endpoint, in the order in which the kubelet performs them. */
export interface KubeletServices {
  /** Serves the route at all (`kubelet.enabled`). */
  readonly enabled: boolean
  /**
   * Finds a container. Returns `pod` if the pod is missing, `container` if the pod has no such container, and an error
   * if the runtime cannot be queried.
   */
  readonly lookUp: (
    namespace: string,
    pod: string,
    container: string,
  ) => Promise<'pod' | 'container' | KubeletContainer | { readonly error: string }>
  /** Value of `capture.minimumWait` in seconds. */
  readonly minimumWaitSeconds: number
}

/** A container found by `lookUp`, to be checkpointed right away. */
export interface KubeletContainer {
  /**
   * Takes the checkpoint after any queued capture of the same container. The timeout and the signal end only the wait,
   * not the capture. Returns the absolute path, or the text of the kubelet's error.
   */
  readonly checkpoint: (
    request: KubeletCheckpointRequest,
  ) => Promise<{ readonly path: string } | { readonly error: string }>
}

export interface KubeletCheckpointRequest {
  /**
   * Timeout of the caller, never longer than a timer can run. 0 means that it has already expired, so nothing is
   * captured. Undefined means a negative timeout, which the kubelet rejects only after finding the container running.
   */
  readonly timeoutMs: number | undefined
  readonly requestedBy: string
  readonly actor?: Actor
  readonly signal: AbortSignal
}
