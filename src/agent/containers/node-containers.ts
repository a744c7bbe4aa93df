import type { ContainerIdentity } from '../../checkpoint/identity.ts'
import type { ContainerRuntime, RuntimeContainer, Sandbox } from '../../runtime/container-runtime.ts'
import { ConflictError, NotFoundError } from '../../shared/errors.ts'
import { SharedLooks } from '../../shared/shared-looks.ts'

/** A container with the pod it is in. */
export interface NodeContainer {
  readonly identity: ContainerIdentity
  readonly image: string
  /** What the image was resolved to when the container was made. */
  readonly imageReference?: string
  /** Undefined where the runtime keeps none. */
  readonly podLabels?: Readonly<Record<string, string>>
  readonly isRunning: boolean
  readonly isAlive: boolean
  readonly createdAt: Date
}

/** Every container that the runtime knows, ended ones included, with its pod; read in two calls. */
export class NodeContainers {
  readonly #runtime: Pick<ContainerRuntime, 'listSandboxes' | 'listContainers'>
  readonly #looks = new SharedLooks<'node', NodeView>(() => this.#look())
  #lastView: NodeView | undefined

  constructor(runtime: Pick<ContainerRuntime, 'listSandboxes' | 'listContainers'>) {
    this.#runtime = runtime
  }

  /** As it was at the last look, whenever that was. */
  get lastView(): NodeView | undefined {
    return this.#lastView
  }

  /** As it is after the call: never what was asked for before. */
  read(): Promise<NodeView> {
    return this.#looks.look('node')
  }

  async #look(): Promise<NodeView> {
    const [sandboxes, containers] = await Promise.all([this.#runtime.listSandboxes(), this.#runtime.listContainers()])
    this.#lastView = new NodeView(sandboxes, containers)
    return this.#lastView
  }
}

/** What runs on the node, at one moment. */
export class NodeView {
  readonly #sandboxes: readonly Sandbox[]
  readonly #containers: readonly RuntimeContainer[]

  constructor(sandboxes: readonly Sandbox[], containers: readonly RuntimeContainer[]) {
    this.#sandboxes = sandboxes
    this.#containers = containers
  }

  /** Those that may have processes: a container that was frozen when its runtime died is `unknown` to the next one. */
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

  /** As the kubelet picks it: in the newest sandbox that is ready. Undefined when none runs. */
  findRunning(namespace: string, pod: string, container: string): NodeContainer | undefined {
    return this.#runningIn(namespace, pod).find(({ identity }) => identity.container === container)
  }

  /**
   * The containers that a capture of this pod, or of one container of it, means. Throws NotFoundError or ConflictError
   * with what is in the way.
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

  /** Newest first. One that has ended and is empty is what the runtime still keeps of a deleted pod. */
  #sandboxesOf(namespace: string, pod: string): Sandbox[] {
    return this.#sandboxes
      .filter((sandbox) => sandbox.namespace === namespace && sandbox.pod === pod)
      .filter((sandbox) => sandbox.isReady || this.#inSandbox(sandbox).length > 0)
      .toSorted((a, b) => b.createdAt.getTime() - a.createdAt.getTime())
  }

  /** Newest first, so that a restarted container stands before its ended forerunners. */
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
