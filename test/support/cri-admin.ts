import { Client, Metadata, credentials } from '@grpc/grpc-js'
import type { ServiceError } from '@grpc/grpc-js'
import { loadSync } from '@grpc/proto-loader'
import type { MethodDefinition } from '@grpc/proto-loader'
import { join } from 'node:path'

export type ContainerState = 'CONTAINER_CREATED' | 'CONTAINER_RUNNING' | 'CONTAINER_EXITED' | 'CONTAINER_UNKNOWN'
export type TaskStatus = 'UNKNOWN' | 'CREATED' | 'RUNNING' | 'STOPPED' | 'PAUSED' | 'PAUSING'

export interface RuntimeVersion {
  readonly runtimeName: string
  readonly runtimeVersion: string
  readonly runtimeApiVersion: string
}

export interface SandboxConfig {
  readonly metadata: {
    readonly name: string
    readonly uid: string
    readonly namespace: string
    readonly attempt: number
  }
  readonly hostname?: string
  readonly logDirectory: string
  readonly labels: Readonly<Record<string, string>>
  readonly annotations: Readonly<Record<string, string>>
  readonly linux: {
    readonly cgroupParent: string
    readonly securityContext: { readonly namespaceOptions: NamespaceOptions }
  }
}

export interface ContainerConfig {
  readonly metadata: { readonly name: string; readonly attempt: number }
  readonly image: { readonly image: string }
  readonly command: readonly string[]
  readonly envs: readonly { readonly key: string; readonly value: string }[]
  readonly mounts: readonly { readonly containerPath: string; readonly hostPath: string; readonly readonly: boolean }[]
  readonly labels: Readonly<Record<string, string>>
  readonly annotations: Readonly<Record<string, string>>
  /** Relative to the sandbox's log directory. */
  readonly logPath: string
  readonly linux: { readonly securityContext: { readonly namespaceOptions: NamespaceOptions } }
}

export interface NamespaceOptions {
  readonly network: 'POD' | 'NODE'
  readonly pid: 'POD' | 'CONTAINER' | 'NODE'
  readonly ipc: 'POD' | 'NODE'
}

export interface ListedContainer {
  readonly id: string
  readonly podSandboxId: string
  readonly metadata: { readonly name: string; readonly attempt: number }
  readonly state: ContainerState
  readonly labels: Readonly<Record<string, string>>
}

export interface ListedSandbox {
  readonly id: string
  readonly metadata: { readonly name: string; readonly uid: string; readonly namespace: string }
  readonly state: 'SANDBOX_READY' | 'SANDBOX_NOTREADY'
}

export interface ContainerStatus {
  readonly id: string
  readonly metadata: { readonly name: string; readonly attempt: number }
  readonly state: ContainerState
  readonly exitCode: number
  readonly reason: string
  readonly logPath: string
  readonly labels: Readonly<Record<string, string>>
  readonly annotations: Readonly<Record<string, string>>
}

export interface VerboseContainerStatus {
  readonly status: ContainerStatus
  /** The runtime's own words; `info.info` is JSON text with `pid` and `runtimeSpec`. */
  readonly info: Readonly<Record<string, string>>
}

export interface ExecResult {
  readonly stdout: string
  readonly stderr: string
  readonly exitCode: number
}

export interface RawCheckpointOptions {
  /** A deadline on the wire: on containerd it leaves the container frozen for ever. To show that danger, not to use it. */
  readonly deadlineMs?: number
  /** Cancels the call without any deadline, as the agent does. */
  readonly signal?: AbortSignal
}

/** Everything the agent must never be able to do to a runtime. Rejects with grpc-js's `ServiceError`. */
export interface CriAdmin {
  readonly socketPath: string
  version(): Promise<RuntimeVersion>
  /** The conditions that hold, for example `RuntimeReady`; rejects while the runtime is starting. */
  readyConditions(): Promise<readonly string[]>
  hasImage(image: string): Promise<boolean>
  /** Over plain HTTP from a registry on the loopback address. */
  pullImage(image: string): Promise<void>
  runPodSandbox(config: SandboxConfig): Promise<string>
  stopPodSandbox(sandboxId: string): Promise<void>
  removePodSandbox(sandboxId: string): Promise<void>
  listPodSandboxes(): Promise<readonly ListedSandbox[]>
  createContainer(sandboxId: string, config: ContainerConfig, sandboxConfig: SandboxConfig): Promise<string>
  startContainer(containerId: string): Promise<void>
  stopContainer(containerId: string, graceSeconds?: number): Promise<void>
  removeContainer(containerId: string): Promise<void>
  listContainers(sandboxId?: string): Promise<readonly ListedContainer[]>
  containerStatus(containerId: string): Promise<VerboseContainerStatus>
  memoryUsageBytes(containerId: string): Promise<number>
  execSync(containerId: string, command: readonly string[], timeoutSeconds?: number): Promise<ExecResult>
  checkpointContainer(containerId: string, location: string, options?: RawCheckpointOptions): Promise<void>
  /** containerd only; what its task API says, which CRI hides. */
  taskStatus(containerId: string): Promise<TaskStatus>
  pauseTask(containerId: string): Promise<void>
  resumeTask(containerId: string): Promise<void>
  close(): void
}

export function connectCriAdmin(socketPath: string): CriAdmin {
  const client = new Client(`unix:${socketPath}`, credentials.createInsecure(), {
    // the socket's path as an authority is refused by Go servers
    'grpc.default_authority': 'localhost',
    'grpc.max_receive_message_length': 16 * 1024 * 1024,
    // a restarted runtime should be found again at once
    'grpc.initial_reconnect_backoff_ms': 50,
    'grpc.max_reconnect_backoff_ms': 500,
  })
  const runtime = callsOf(client, RUNTIME)
  const images = callsOf(client, IMAGES)
  const inK8sNamespace = new Metadata()
  inK8sNamespace.set('containerd-namespace', 'k8s.io')
  const tasks = callsOf(client, TASKS, inK8sNamespace)

  return {
    socketPath,
    version: () => runtime<RuntimeVersion>('Version', {}),
    async readyConditions() {
      const { status } = await runtime<StatusResponse>('Status', {})
      return status.conditions.filter((condition) => condition.status).map((condition) => condition.type)
    },
    async hasImage(image) {
      const { image: found } = await images<{ image: object | null }>('ImageStatus', { image: { image } })
      return found !== null
    },
    async pullImage(image) {
      await images('PullImage', { image: { image } })
    },
    async runPodSandbox(config) {
      return (await runtime<{ podSandboxId: string }>('RunPodSandbox', { config })).podSandboxId
    },
    async stopPodSandbox(podSandboxId) {
      await runtime('StopPodSandbox', { podSandboxId })
    },
    async removePodSandbox(podSandboxId) {
      await runtime('RemovePodSandbox', { podSandboxId })
    },
    async listPodSandboxes() {
      return (await runtime<{ items: ListedSandbox[] }>('ListPodSandbox', {})).items
    },
    async createContainer(podSandboxId, config, sandboxConfig) {
      const request = { podSandboxId, config, sandboxConfig }
      return (await runtime<{ containerId: string }>('CreateContainer', request)).containerId
    },
    async startContainer(containerId) {
      await runtime('StartContainer', { containerId })
    },
    async stopContainer(containerId, graceSeconds = 0) {
      await runtime('StopContainer', { containerId, timeout: graceSeconds })
    },
    async removeContainer(containerId) {
      await runtime('RemoveContainer', { containerId })
    },
    async listContainers(sandboxId) {
      const filter = sandboxId === undefined ? {} : { podSandboxId: sandboxId }
      return (await runtime<{ containers: ListedContainer[] }>('ListContainers', { filter })).containers
    },
    containerStatus: (containerId) => runtime('ContainerStatus', { containerId, verbose: true }),
    async memoryUsageBytes(containerId) {
      const { stats } = await runtime<StatsResponse>('ContainerStats', { containerId })
      return stats?.memory?.usageBytes?.value ?? 0
    },
    async execSync(containerId, cmd, timeoutSeconds = 10) {
      const request = { containerId, cmd, timeout: timeoutSeconds }
      const answer = await runtime<{ stdout: Buffer; stderr: Buffer; exitCode: number }>('ExecSync', request)
      return { stdout: answer.stdout.toString(), stderr: answer.stderr.toString(), exitCode: answer.exitCode }
    },
    async checkpointContainer(containerId, location, options) {
      await runtime('CheckpointContainer', { containerId, location }, options)
    },
    async taskStatus(containerId) {
      return (await tasks<{ process: { status: TaskStatus } }>('Get', { containerId })).process.status
    },
    async pauseTask(containerId) {
      await tasks('Pause', { containerId })
    },
    async resumeTask(containerId) {
      await tasks('Resume', { containerId })
    },
    close: () => {
      client.close()
    },
  }
}

interface StatusResponse {
  readonly status: { readonly conditions: readonly { readonly type: string; readonly status: boolean }[] }
}

interface StatsResponse {
  readonly stats: { readonly memory: { readonly usageBytes: { readonly value: number } | null } | null } | null
}

type Service = Readonly<Record<string, MethodDefinition<object, object>>>

const RUNTIME = loadService('cri-admin.proto', 'runtime.v1.RuntimeService')
const IMAGES = loadService('cri-admin.proto', 'runtime.v1.ImageService')
const TASKS = loadService('containerd-tasks-admin.proto', 'containerd.services.tasks.v1.Tasks')

function loadService(file: string, name: string): Service {
  const definition = loadSync(join(import.meta.dirname, 'proto', file), {
    longs: Number,
    enums: String,
    defaults: true,
  })
  const service = definition[name]
  if (service === undefined || 'format' in service) throw new Error(`Cannot load "${file}": it has no service ${name}`)
  return service
}

type Call = <Answer = unknown>(method: string, request: object, options?: RawCheckpointOptions) => Promise<Answer>

function callsOf(client: Client, service: Service, metadata = new Metadata()): Call {
  return <Answer>(name: string, request: object, { deadlineMs, signal }: RawCheckpointOptions = {}) => {
    const method = service[name]
    if (method === undefined) throw new Error(`Cannot call "${name}": the protocol file does not name it`)
    return new Promise<Answer>((resolve, reject) => {
      const call = client.makeUnaryRequest(
        method.path,
        method.requestSerialize,
        method.responseDeserialize,
        request,
        metadata,
        deadlineMs === undefined ? {} : { deadline: Date.now() + deadlineMs },
        (error: ServiceError | null, answer) => {
          signal?.removeEventListener('abort', cancel)
          if (error === null) resolve(answer as Answer)
          else reject(error)
        },
      )
      const cancel = (): void => {
        call.cancel()
      }
      if (signal?.aborted) cancel()
      else signal?.addEventListener('abort', cancel, { once: true })
    })
  }
}
