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
  /** Newest first; with `namespaces` only of these. `remaining` counts such jobs as well. */
  readonly list: (page: {
    readonly limit: number
    readonly before?: string
    readonly namespaces?: readonly string[]
  }) => { readonly jobs: readonly CaptureJob[]; readonly remaining: number }
  /** Each that a job is of, once. */
  readonly namespaces: () => readonly string[]
  /** Throws NotFoundError. */
  readonly get: (jobId: string) => CaptureJob
  /** Resolves once the job is final. Throws NotFoundError, ConflictError (`CaptureFinished`). */
  readonly cancel: (jobId: string) => Promise<CaptureJob>
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
  ) => Promise<'pod' | 'container' | KubeletContainer | { readonly error: string }>
  /** `capture.minimumWait` in seconds. */
  readonly minimumWaitSeconds: number
}

/** A container as it was looked up, for what is asked of it at once. */
export interface KubeletContainer {
  /**
   * Takes the checkpoint, waiting in the queue behind a capture of the same container. The wait ends after `timeoutMs`
   * or with the signal, the capture does not. Answers with the absolute path, or with the text of the kubelet's error.
   */
  readonly checkpoint: (
    request: KubeletCheckpointRequest,
  ) => Promise<{ readonly path: string } | { readonly error: string }>
}

export interface KubeletCheckpointRequest {
  /**
   * Undefined: the caller's timeout was negative, which the kubelet refuses only after it has found the container
   * running. 0: the time is over before it begins, so nothing is captured. Never more than a timer can hold.
   */
  readonly timeoutMs: number | undefined
  readonly requestedBy: string
  readonly actor?: Actor
  readonly signal: AbortSignal
}
