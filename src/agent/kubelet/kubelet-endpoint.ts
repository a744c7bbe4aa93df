import { join } from 'node:path'
import type { CaptureJob } from '../../checkpoint/capture-job.ts'
import { goErrorText } from '../../runtime/cri-connection.ts'
import type { KubeletCheckpointRequest, KubeletContainer, KubeletServices } from '../../http/capture-services.ts'
import { AgentError } from '../../shared/errors.ts'
import type { Captures, NodeSnapshot } from '../capture/captures.ts'

export interface KubeletEndpointOptions {
  readonly enabled: boolean
  readonly minimumWaitSeconds: number
  readonly checkpointsDirectory: string
  readonly captures: Captures
}

interface KubeletTarget {
  readonly namespace: string
  readonly pod: string
  readonly container: string
}

/** Text between the parentheses of the kubelet's error. */
interface KubeletError {
  readonly error: string
}

const DEADLINE_EXCEEDED = 'rpc error: code = DeadlineExceeded desc = context deadline exceeded'

/** Provides the kubelet's checkpoint endpoint on top of the agent's captures. */
export class KubeletEndpoint implements KubeletServices {
  readonly enabled: boolean
  readonly minimumWaitSeconds: number
  readonly #directory: string
  readonly #captures: Captures

  constructor({ enabled, minimumWaitSeconds, checkpointsDirectory, captures }: KubeletEndpointOptions) {
    this.enabled = enabled
    this.minimumWaitSeconds = minimumWaitSeconds
    this.#directory = checkpointsDirectory
    this.#captures = captures
  }

  async lookUp(
    namespace: string,
    pod: string,
    container: string,
  ): Promise<'pod' | 'container' | KubeletContainer | KubeletError> {
    const target = { namespace, pod, container }
    const seen = await this.#captures.look(target).catch((error: unknown) => ({ error: describe(error) }))
    if ('error' in seen) return seen
    if (!seen.view.hasPod(namespace, pod)) return 'pod'
    if (!seen.view.hasContainer(namespace, pod, container)) return 'container'
    return { checkpoint: (request) => this.#checkpoint(target, seen, request) }
  }

  /** Requests a capture right after the container was found, without reading the state of the node again. */
  async #checkpoint(
    { namespace, pod, container }: KubeletTarget,
    seen: NodeSnapshot,
    { timeoutMs, requestedBy, actor, signal }: KubeletCheckpointRequest,
  ): Promise<{ readonly path: string } | KubeletError> {
    if (seen.view.findRunning(namespace, pod, container) === undefined)
      return { error: `container ${container} not found` }
    if (timeoutMs === undefined) return { error: 'CheckpointContainer requires the timeout value to be > 0' }
    if (timeoutMs <= 0) return { error: DEADLINE_EXCEEDED }
    try {
      const wish = { namespace, pod, container, requestedBy, ...(actor !== undefined && { actor }) }
      const { id } = await this.#captures.requestBehind(wish, seen)
      return this.#answer(await this.#captures.wait(id, { timeoutMs, signal }))
    } catch (error) {
      return { error: describe(error) }
    }
  }

  #answer(job: CaptureJob): { readonly path: string } | KubeletError {
    const [capture] = job.captures
    if (capture?.archive !== undefined) return { path: join(this.#directory, capture.archive.fileName) }
    if (capture?.failure === undefined) return { error: DEADLINE_EXCEEDED }
    const { code, detail, kubeletText } = capture.failure
    if (kubeletText === undefined && hasGone(code)) {
      return { error: `container ${capture.identity.container} not found` }
    }
    return { error: kubeletText ?? detail }
  }
}

function hasGone(code: string): boolean {
  return ['ContainerNotRunning', 'ContainerNotFound', 'PodNotFound'].includes(code)
}

/** Returns the text of an agent error. Throws all other errors, which are defects. */
function describe(error: unknown): string {
  if (error instanceof AgentError) return goErrorText(error) ?? error.message
  throw error
}
