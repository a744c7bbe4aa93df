import { join } from 'node:path'
import type { CaptureJob } from '../checkpoint/capture-job.ts'
import { AgentError } from '../shared/errors.ts'
import type { Captures } from './capture/captures.ts'
import type { NodeContainers } from './node-containers.ts'

export interface KubeletEndpointOptions {
  readonly enabled: boolean
  readonly minimumWaitSeconds: number
  readonly checkpointsDirectory: string
  readonly containers: NodeContainers
  readonly captures: Captures
}

interface KubeletRequest {
  readonly namespace: string
  readonly pod: string
  readonly container: string
  /** Undefined: negative. 0 or less: over before it begins. */
  readonly timeoutMs: number | undefined
  readonly requestedBy: string
  readonly signal: AbortSignal
}

const DEADLINE_EXCEEDED = 'rpc error: code = DeadlineExceeded desc = context deadline exceeded'

/** What the kubelet would do and say, with our captures behind it. */
export class KubeletEndpoint {
  readonly enabled: boolean
  readonly minimumWaitSeconds: number
  readonly #directory: string
  readonly #containers: NodeContainers
  readonly #captures: Captures

  constructor({ enabled, minimumWaitSeconds, checkpointsDirectory, containers, captures }: KubeletEndpointOptions) {
    this.enabled = enabled
    this.minimumWaitSeconds = minimumWaitSeconds
    this.#directory = checkpointsDirectory
    this.#containers = containers
    this.#captures = captures
  }

  async lookUp(namespace: string, pod: string, container: string): Promise<'pod' | 'container' | 'found'> {
    const view = await this.#containers.read()
    if (!view.hasPod(namespace, pod)) return 'pod'
    return view.hasContainer(namespace, pod, container) ? 'found' : 'container'
  }

  async checkpoint(request: KubeletRequest): Promise<{ readonly path: string } | { readonly error: string }> {
    const { namespace, pod, container, timeoutMs, requestedBy, signal } = request
    const view = await this.#containers.read()
    if (view.findRunning(namespace, pod, container) === undefined) return { error: `container ${container} not found` }
    if (timeoutMs === undefined) return { error: 'CheckpointContainer requires the timeout value to be > 0' }
    if (timeoutMs <= 0) return { error: DEADLINE_EXCEEDED }
    try {
      const { id } = await this.#captures.requestBehind({ namespace, pod, container, requestedBy })
      return this.#answer(await this.#captures.wait(id, { timeoutMs, signal }))
    } catch (error) {
      if (error instanceof AgentError) return { error: describe(error) }
      throw error
    }
  }

  #answer(job: CaptureJob): { readonly path: string } | { readonly error: string } {
    const [capture] = job.captures
    if (capture?.archive !== undefined) return { path: join(this.#directory, capture.archive.fileName) }
    if (capture?.failure === undefined) return { error: DEADLINE_EXCEEDED }
    return { error: capture.failure.kubeletText ?? capture.failure.detail }
  }
}

function describe(error: AgentError): string {
  const kubeletText = error.extra['kubeletText']
  return typeof kubeletText === 'string' ? kubeletText : error.message
}
