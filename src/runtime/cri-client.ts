import { status } from '@grpc/grpc-js'
import { z } from 'zod'
import { errorText, RuntimeFailureError } from '../shared/errors.ts'
import { escapeUnreadable, readableText } from '../shared/readable-text.ts'
import type {
  ContainerDetails,
  ContainerRuntime,
  ContainerState,
  ContainerUsage,
  RuntimeContainer,
  RuntimeVersion,
  Sandbox,
  TaskState,
} from './container-runtime.ts'
import type { UnpauseAnswer } from './crio-unpause.ts'
import { explainFailedDump } from './dump-log.ts'
import { CriConnection, GrpcCallError, isAnswered, type CallName } from './cri-connection.ts'

export interface CriClientOptions {
  /** Path of the socket; a function is evaluated before every call. */
  readonly socketPath: string | (() => string | undefined)
  /** containerd namespace of Kubernetes containers. */
  readonly containerdNamespace?: string
  /** Timeout of every call except the checkpoint. */
  readonly callTimeoutMs?: number
}

const CONTAINER_STATES: readonly ContainerState[] = ['created', 'running', 'exited', 'unknown']
const TASK_STATES: readonly TaskState[] = ['unknown', 'unknown', 'running', 'stopped', 'paused', 'pausing']

/**
 * A container runtime, accessed through its CRI socket and through containerd's task API on the
 * same socket, if available.
 */
export class CriClient implements ContainerRuntime {
  readonly #connection: CriConnection
  readonly #containerdNamespace: string
  readonly #callTimeoutMs: number
  /**
   * True if the runtime has a task API. Only such runtimes have been observed to stop a canceled
   * dump.
   */
  #hasTaskApi: boolean | undefined

  constructor({ socketPath, containerdNamespace = 'k8s.io', callTimeoutMs = 10_000 }: CriClientOptions) {
    this.#connection = new CriConnection(typeof socketPath === 'string' ? () => socketPath : socketPath)
    this.#containerdNamespace = containerdNamespace
    this.#callTimeoutMs = callTimeoutMs
  }

  async version(): Promise<RuntimeVersion> {
    const answer = versionShape.parse(await this.#call('Version', { version: 'v1' }))
    return { name: answer.runtime_name, version: answer.runtime_version }
  }

  async notReadyReason(): Promise<string | undefined> {
    const { status: runtimeStatus } = statusShape.parse(await this.#call('Status', { verbose: false }))
    const ready = runtimeStatus?.conditions.find(({ type }) => type === 'RuntimeReady')
    if (ready?.status === true) return undefined
    return ready === undefined
      ? 'the runtime does not say whether it is ready'
      : `${ready.reason} ${ready.message}`.trim()
  }

  async listSandboxes(): Promise<readonly Sandbox[]> {
    const { items } = sandboxesShape.parse(await this.#call('ListPodSandbox', {}))
    return items.map(({ id, metadata, state, created_at, labels }) => ({
      id,
      namespace: readableText(metadata?.namespace ?? EMPTY),
      pod: readableText(metadata?.name ?? EMPTY),
      podUid: readableText(metadata?.uid ?? EMPTY),
      isReady: state === 0,
      createdAt: fromNanoseconds(created_at),
      labels: toLabels(labels),
    }))
  }

  async listContainers(): Promise<readonly RuntimeContainer[]> {
    const { containers } = containersShape.parse(await this.#call('ListContainers', {}))
    return containers.map(({ id, pod_sandbox_id, metadata, image, image_ref, state, created_at }) => ({
      id,
      sandboxId: pod_sandbox_id,
      name: readableText(metadata?.name ?? EMPTY),
      state: CONTAINER_STATES[state] ?? 'unknown',
      createdAt: fromNanoseconds(created_at),
      image: readableText(firstNonEmpty(image?.user_specified_image, image?.image, image_ref)),
      imageReference: readableText(image_ref),
    }))
  }

  async findContainer(containerId: string): Promise<ContainerDetails | undefined> {
    const request = { container_id: containerId, verbose: true }
    const answer = await this.#call('ContainerStatus', request).catch(undefinedIfNotFound)
    if (answer === undefined) return undefined
    const { status: containerStatus, info } = containerStatusShape.parse(answer)
    const startedAt = containerStatus?.started_at ?? 0n
    return {
      state: CONTAINER_STATES[containerStatus?.state ?? 3] ?? 'unknown',
      startedAt: startedAt > 0n ? fromNanoseconds(startedAt) : undefined,
      cgroupsPath: findCgroupsPath(info['info']),
    }
  }

  async listUsage(containerId?: string): Promise<ReadonlyMap<string, ContainerUsage>> {
    const request = containerId === undefined ? {} : { filter: { id: containerId } }
    const { stats } = usageShape.parse(await this.#call('ListContainerStats', request))
    return new Map(
      stats.map(({ attributes, memory, writable_layer }) => [
        attributes?.id ?? '',
        {
          // The working set omits pages that are swapped out or inactive, but a dump contains all
          // resident ones.
          memoryBytes: largest(memory?.working_set_bytes, memory?.rss_bytes),
          writableLayerBytes: largest(writable_layer?.used_bytes),
        },
      ]),
    )
  }

  async checkpoint(containerId: string, location: string, signal: AbortSignal): Promise<void> {
    const request = { container_id: containerId, location, timeout: 0n }
    const begunAt = new Date()
    try {
      await this.#connection.call('CheckpointContainer', request, { deadlineMs: undefined, signal })
    } catch (error) {
      if (isNotRunning(error) && (await this.#isCalledRunning(containerId))) throw thoughtPaused(error)
      throw await explainFailedDump(error, { containerId, begunAt })
    }
  }

  get heedsCancel(): boolean | undefined {
    return this.#hasTaskApi
  }

  async taskState(containerId: string): Promise<TaskState | undefined> {
    try {
      const { process } = taskShape.parse(await this.#taskCall('Get', containerId))
      this.#hasTaskApi = true
      return TASK_STATES[process?.status ?? 0] ?? 'unknown'
    } catch (error) {
      if (isAnswered(error)) this.#hasTaskApi = grpcCodeOf(error) !== status.UNIMPLEMENTED
      if (grpcCodeOf(error) === status.UNIMPLEMENTED) return undefined
      if (grpcCodeOf(error) === status.NOT_FOUND) return 'stopped'
      throw error
    }
  }

  async resumeTask(containerId: string): Promise<void> {
    await this.#taskCall('Resume', containerId)
  }

  async unpause(containerId: string): Promise<UnpauseAnswer> {
    return await this.#connection.unpause(containerId, this.#callTimeoutMs)
  }

  close(): void {
    this.#connection.close()
  }

  /**
   * Checks the state that CRI reports. CRI-O keeps the state "paused" for a container that was
   * paused or thawed without it, while CRI reports it as running.
   */
  async #isCalledRunning(containerId: string): Promise<boolean> {
    const container = await this.findContainer(containerId).catch(() => undefined)
    return container?.state === 'running'
  }

  #call(name: CallName, request: object): Promise<object> {
    return this.#connection.call(name, request, { deadlineMs: this.#callTimeoutMs })
  }

  #taskCall(name: 'Get' | 'Resume', containerId: string): Promise<object> {
    const metadata = { 'containerd-namespace': this.#containerdNamespace }
    return this.#connection.call(name, { container_id: containerId }, { deadlineMs: this.#callTimeoutMs, metadata })
  }
}

function toLabels(labels: Readonly<Record<string, Uint8Array>>): Readonly<Record<string, string>> {
  return Object.fromEntries(Object.entries(labels).map(([key, value]) => [escapeUnreadable(key), readableText(value)]))
}

const EMPTY = new Uint8Array()
const bytes = z.instanceof(Uint8Array)
const amount = z.object({ value: z.bigint() }).nullish()

const versionShape = z.object({ runtime_name: z.string(), runtime_version: z.string() })
const statusShape = z.object({
  status: z
    .object({
      conditions: z.array(z.object({ type: z.string(), status: z.boolean(), reason: z.string(), message: z.string() })),
    })
    .nullish(),
})
const sandboxesShape = z.object({
  items: z.array(
    z.object({
      id: z.string(),
      metadata: z.object({ name: bytes, uid: bytes, namespace: bytes }).nullish(),
      state: z.number(),
      created_at: z.bigint(),
      labels: z.record(z.string(), bytes),
    }),
  ),
})
const containersShape = z.object({
  containers: z.array(
    z.object({
      id: z.string(),
      pod_sandbox_id: z.string(),
      metadata: z.object({ name: bytes }).nullish(),
      image: z.object({ image: bytes, user_specified_image: bytes }).nullish(),
      image_ref: bytes,
      state: z.number(),
      created_at: z.bigint(),
    }),
  ),
})
const containerStatusShape = z.object({
  status: z.object({ state: z.number(), started_at: z.bigint() }).nullish(),
  info: z.record(z.string(), bytes),
})
const usageShape = z.object({
  stats: z.array(
    z.object({
      attributes: z.object({ id: z.string() }).nullish(),
      memory: z.object({ working_set_bytes: amount, rss_bytes: amount }).nullish(),
      writable_layer: z.object({ used_bytes: amount }).nullish(),
    }),
  ),
})
const taskShape = z.object({ process: z.object({ status: z.number() }).nullish() })
const infoShape = z.object({
  runtimeSpec: z.object({ linux: z.object({ cgroupsPath: z.string() }).partial().nullish() }).nullish(),
})

/** Extracts only the path, because the JSON also contains the container's environment. */
function findCgroupsPath(info: Uint8Array | undefined): string | undefined {
  if (info === undefined) return undefined
  try {
    const json: unknown = JSON.parse(Buffer.from(info).toString('utf8'))
    return infoShape.parse(json).runtimeSpec?.linux?.cgroupsPath
  } catch {
    return undefined
  }
}

function undefinedIfNotFound(error: unknown): undefined {
  if (error instanceof RuntimeFailureError && error.code === 'ContainerNotFound') return undefined
  throw error
}

function grpcCodeOf(error: unknown): number | undefined {
  const cause = error instanceof Error ? error.cause : undefined
  return cause instanceof GrpcCallError ? cause.grpcCode : undefined
}

/** Checks whether a resume failed because the freezer reports no pause. */
export function isNotPaused(error: unknown): boolean {
  return (
    error instanceof RuntimeFailureError &&
    /container not paused|cannot resume a running process/.test(error.runtimeMessage ?? errorText(error))
  )
}

function isNotRunning(error: unknown): error is RuntimeFailureError {
  return error instanceof RuntimeFailureError && error.code === 'ContainerNotRunning'
}

function thoughtPaused({ runtimeMessage, cause }: RuntimeFailureError): RuntimeFailureError {
  return new RuntimeFailureError('the runtime thinks the container paused, though CRI calls it running', {
    code: 'ContainerPaused',
    hint: 'See with GET /v1/node whether it is frozen. Resume it: curl --unix-socket /run/crio/crio.sock http://localhost/unpause/ID. Where that answers "container not paused", somebody has thawed it behind the back of CRI-O: write 1 into its cgroup.freeze (FROZEN into freezer.state) first, then repeat the call.',
    ...(runtimeMessage !== undefined && { runtimeMessage }),
    cause,
  })
}

function fromNanoseconds(nanoseconds: bigint): Date {
  return new Date(Number(nanoseconds / 1_000_000n))
}

function firstNonEmpty(...candidates: readonly (Uint8Array | undefined)[]): Uint8Array {
  return candidates.find((candidate) => candidate !== undefined && candidate.length > 0) ?? EMPTY
}

function largest(...amounts: readonly ({ readonly value: bigint } | null | undefined)[]): number | undefined {
  const known = amounts.flatMap((entry) => (entry === null || entry === undefined ? [] : [Number(entry.value)]))
  return known.length === 0 ? undefined : Math.max(...known)
}
