import type { UnpauseAnswer } from './crio-unpause.ts'

/** Name and version of the runtime on the CRI socket. */
export interface RuntimeVersion {
  readonly name: string
  readonly version: string
}

/** A pod as reported by the runtime. All names are safe to display. */
export interface Sandbox {
  readonly id: string
  readonly namespace: string
  readonly pod: string
  readonly podUid: string
  readonly isReady: boolean
  readonly createdAt: Date
  /** Labels, safe to display; undefined if the runtime does not store them. */
  readonly labels?: Readonly<Record<string, string>>
}

export type ContainerState = 'created' | 'running' | 'exited' | 'unknown'

export interface RuntimeContainer {
  readonly id: string
  readonly sandboxId: string
  readonly name: string
  readonly state: ContainerState
  readonly createdAt: Date
  readonly image: string
  /** Id or digest that the image was resolved to when the container was created. */
  readonly imageReference?: string
}

/** Details of one container beyond those in the list. */
export interface ContainerDetails {
  readonly state: ContainerState
  readonly startedAt: Date | undefined
  /** `linux.cgroupsPath` of its runtime spec: a path, or `slice:prefix:id`. */
  readonly cgroupsPath: string | undefined
}

export interface ContainerUsage {
  readonly memoryBytes: number | undefined
  readonly writableLayerBytes: number | undefined
}

/** State of the task below CRI, which reports a frozen container as running. */
export type TaskState = 'running' | 'pausing' | 'paused' | 'stopped' | 'unknown'

/**
 * A runtime that can take checkpoints. No call can start, change or end a container. Every call
 * except `checkpoint` ends within seconds. All calls throw a `RuntimeFailureError` or an
 * `UnavailableError` with a code from `failure-causes.ts`.
 */
export interface ContainerRuntime {
  version(): Promise<RuntimeVersion>
  /** Returns what the runtime reports as missing; undefined if it is ready. */
  notReadyReason(): Promise<string | undefined>
  listSandboxes(): Promise<readonly Sandbox[]>
  /** Lists containers in every state, including exited ones. */
  listContainers(): Promise<readonly RuntimeContainer[]>
  /** Returns undefined if the runtime does not know the container. */
  findContainer(containerId: string): Promise<ContainerDetails | undefined>
  /**
   * Returns usage by container id, of one container or of all. The map omits containers without
   * figures.
   */
  listUsage(containerId?: string): Promise<ReadonlyMap<string, ContainerUsage>>
  /**
   * Writes the container's archive to `location`. Has no deadline, because containerd leaves the
   * container frozen forever when one passes. Aborting the signal cancels the call safely, but the
   * dump may continue for a while.
   */
  checkpoint(containerId: string, location: string, signal: AbortSignal): Promise<void>
  /**
   * True if the runtime stops a dump when its caller cancels. CRI-O does not: there, only the
   * response shows that a dump is over. Undefined until `taskState` has been answered once.
   */
  readonly heedsCancel: boolean | undefined
  /** Returns undefined if the runtime has no task API. */
  taskState(containerId: string): Promise<TaskState | undefined>
  /** Resumes a paused task. Call it only if `taskState` returned a state. */
  resumeTask(containerId: string): Promise<void>
  /**
   * Resumes a paused container on a runtime without a task API. Has no effect on a running
   * container.
   */
  unpause(containerId: string): Promise<UnpauseAnswer>
}
