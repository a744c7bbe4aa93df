import type { ContainerIdentity } from '../../checkpoint/identity.ts'
import type { ContainerRuntime, RuntimeContainer, Sandbox } from '../../runtime/container-runtime.ts'
import { ConflictError, NotFoundError } from '../../shared/errors.ts'
import { SharedLooks } from '../../shared/shared-looks.ts'

/** A container and the pod that it belongs to. */
export interface NodeContainer {
  readonly identity: ContainerIdentity
  readonly image: string
  /** Reference to which the image was resolved when the container was created. */
  readonly imageReference?: string
  /** Undefined if the runtime stores no labels. */
  readonly podLabels?: Readonly<Record<string, string>>
  readonly isRunning: boolean
  readonly isAlive: boolean
  readonly createdAt: Date
}

/** Reads every container known to the runtime, including ended ones, with its pod. Each read takes two calls. */
export class NodeContainers {
  readonly #runtime: Pick<ContainerRuntime, 'listSandboxes' | 'listContainers'>
  readonly #looks = new SharedLooks<'node', NodeView>(() => this.#look())
  #lastView: NodeView | undefined

  constructor(runtime: Pick<ContainerRuntime, 'listSandboxes' | 'listContainers'>) {
    this.#runtime = runtime
  }

  /** Result of the last read, whatever its age. */
  get lastView(): NodeView | undefined {
    return this.#lastView
  }

  /** Reads the node after the call. Never returns the answer to an earlier query. */
  read(): Promise<NodeView> {
    return this.#looks.look('node')
  }

  async #look(): Promise<NodeView> {
    const [sandboxes, containers] = await Promise.all([this.#runtime.listSandboxes(), this.#runtime.listContainers()])
    this.#lastView = new NodeView(sandboxes, containers)
    return this.#lastView
  }
}

/** State of the node's containers at one moment. */
export class NodeView {
  readonly #sandboxes: readonly Sandbox[]
  readonly #containers: readonly RuntimeContainer[]

  constructor(sandboxes: readonly Sandbox[], containers: readonly RuntimeContainer[]) {
    this.#sandboxes = sandboxes
    this.#containers = containers
  }

  /**
   * Returns containers that may have processes. If the runtime dies while a container is frozen, the next runtime
   * reports it as `unknown`.
   */
  listAlive(): NodeContainer[] {
    return this.#sandboxes.flatMap((sandbox) => this.#inSandbox(sandbox).filter(({ isAlive }) => isAlive))
  }

  listRunning(): NodeContainer[] {
    return this.#sandboxes.flatMap((sandbox) => this.#inSandbox(sandbox).filter(({ isRunning }) => isRunning))
  }

  isRunning(containerId: string): boolean {
    return this.#containers.some(({ id, state }) => id === containerId && state === 'running')
  }

  hasPod(namespace: string, pod: string): boolean {
    return this.#sandboxesOf(namespace, pod).length > 0
  }

  hasContainer(namespace: string, pod: string, container: string): boolean {
    return this.#sandboxesOf(namespace, pod).some((sandbox) =>
      this.#inSandbox(sandbox).some(({ identity }) => identity.container === container),
    )
  }

  /**
   * Returns the container that the kubelet would pick: the one in the newest ready sandbox. Returns undefined if none
   * runs.
   */
  findRunning(namespace: string, pod: string, container: string): NodeContainer | undefined {
    return this.#runningIn(namespace, pod).find(({ identity }) => identity.container === container)
  }

  /**
   * Returns the containers that a capture of this pod, or of one of its containers, selects. Throws NotFoundError or
   * ConflictError if there are none.
   */
  select(wanted: {
    readonly namespace: string
    readonly pod: string
    readonly container?: string
    readonly podUid?: string
  }): readonly NodeContainer[] {
    const { namespace, pod, container, podUid } = wanted
    const name = `${namespace}/${pod}`
    const sandbox = this.#newest(namespace, pod)
    if (sandbox === undefined) {
      throw new NotFoundError(`Cannot find pod "${name}" on this node`, {
        code: 'PodNotFound',
        hint: 'See what runs here with GET /v1/containers; the pod may be on another node.',
      })
    }
    if (podUid !== undefined && podUid !== sandbox.podUid) {
      throw new ConflictError(`Cannot checkpoint pod "${name}": its UID is "${sandbox.podUid}", not "${podUid}"`, {
        code: 'PodUidMismatch',
        hint: 'The pod was replaced by another of the same name: look at it again before you ask.',
      })
    }
    const running = this.#runningIn(namespace, pod)
    const selected = running.filter(({ identity }) => container === undefined || identity.container === container)
    if (selected.length > 0) return selected
    if (container !== undefined && !this.hasContainer(namespace, pod, container)) {
      throw new NotFoundError(`Cannot find container "${container}" in pod "${name}"`, {
        code: 'ContainerNotFound',
        hint: 'See the names of its containers with GET /v1/containers.',
      })
    }
    const what =
      container === undefined
        ? `pod "${name}": none of its containers runs`
        : `container "${container}" of pod "${name}": it is not running`
    throw new ConflictError(`Cannot checkpoint ${what}`, {
      code: 'ContainerNotRunning',
      hint: 'Only a running container can be checkpointed; wait until it is started.',
    })
  }

  #runningIn(namespace: string, pod: string): NodeContainer[] {
    const ready = this.#sandboxesOf(namespace, pod).find(({ isReady }) => isReady)
    return ready === undefined ? [] : this.#inSandbox(ready).filter(({ isRunning }) => isRunning)
  }

  #newest(namespace: string, pod: string): Sandbox | undefined {
    const sandboxes = this.#sandboxesOf(namespace, pod)
    return sandboxes.find(({ isReady }) => isReady) ?? sandboxes[0]
  }

  /**
   * Returns the sandboxes of a pod, newest first. An ended, empty sandbox is a remnant of a deleted pod and is left
   * out.
   */
  #sandboxesOf(namespace: string, pod: string): Sandbox[] {
    return this.#sandboxes
      .filter((sandbox) => sandbox.namespace === namespace && sandbox.pod === pod)
      .filter((sandbox) => sandbox.isReady || this.#inSandbox(sandbox).length > 0)
      .toSorted((a, b) => b.createdAt.getTime() - a.createdAt.getTime())
  }

  /**
   * Returns the containers of a sandbox, newest first, so that a restarted container precedes its ended predecessors.
   */
  #inSandbox(sandbox: Sandbox): NodeContainer[] {
    return this.#containers
      .filter(({ sandboxId }) => sandboxId === sandbox.id)
      .toSorted((a, b) => b.createdAt.getTime() - a.createdAt.getTime())
      .map((container) => ({
        identity: {
          namespace: sandbox.namespace,
          pod: sandbox.pod,
          podUid: sandbox.podUid,
          container: container.name,
          containerId: container.id,
        },
        image: container.image,
        ...(container.imageReference !== undefined && { imageReference: container.imageReference }),
        ...(sandbox.labels !== undefined && { podLabels: sandbox.labels }),
        isRunning: container.state === 'running',
        isAlive: container.state === 'running' || container.state === 'unknown',
        createdAt: container.createdAt,
      }))
  }
}
