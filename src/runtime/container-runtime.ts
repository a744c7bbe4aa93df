import type { UnpauseAnswer } from './crio-unpause.ts'

/** Who answers on the CRI socket. */
export interface RuntimeVersion {
  readonly name: string
  readonly version: string
}

/** A pod as the runtime knows it; names are readable texts. */
export interface Sandbox {
  readonly id: string
  readonly namespace: string
  readonly pod: string
  readonly podUid: string
  readonly isReady: boolean
  readonly createdAt: Date
  /** Readable texts; undefined where the runtime keeps none. */
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
  /** What the image was resolved to when the container was made: an id or a digest. */
  readonly imageReference?: string
}

/** What one look at a single container adds. */
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

/** What the task is doing beneath CRI, which calls a frozen container running. */
export type TaskState = 'running' | 'pausing' | 'paused' | 'stopped' | 'unknown'

/**
 * Someone who can make a checkpoint, and nothing more than that: no call here can start, change or end a container.
 * Every call but `checkpoint` ends by itself within seconds. All throw a `RuntimeFailureError` or an
 * `UnavailableError` with a code of `failure-causes.ts`.
 */
export interface ContainerRuntime {
  version(): Promise<RuntimeVersion>
  /** Undefined when it is ready, else what it says is missing. */
  notReadyReason(): Promise<string | undefined>
  listSandboxes(): Promise<readonly Sandbox[]>
  /** In every state, exited ones included. */
  listContainers(): Promise<readonly RuntimeContainer[]>
  /** Undefined when the runtime knows no such container. */
  findContainer(containerId: string): Promise<ContainerDetails | undefined>
  /** By container id, of one container or of all. A container without figures is missing from the map. */
  listUsage(containerId?: string): Promise<ReadonlyMap<string, ContainerUsage>>
  /**
   * Writes the container's archive to `location`. Carries no deadline: containerd leaves the container frozen for ever
   * when one passes. Aborting the signal cancels the call, which is safe; the dump may go on for a while after that.
   */
  checkpoint(containerId: string, location: string, signal: AbortSignal): Promise<void>
  /**
   * Whether the runtime gives a dump up when its caller leaves. CRI-O does not: there only the answer says that a dump
   * is over. Undefined until `taskState` has been answered once.
   */
  readonly heedsCancel: boolean | undefined
  /** Undefined when this runtime has no task API. */
  taskState(containerId: string): Promise<TaskState | undefined>
  /** Resumes a paused task. Only where `taskState` gave an answer. */
  resumeTask(containerId: string): Promise<void>
  /** Resumes a paused container on a runtime without a task API. Harmless for one that runs. */
  unpause(containerId: string): Promise<UnpauseAnswer>
}
