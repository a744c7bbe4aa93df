import { randomBytes } from 'node:crypto'
import type { ContainerState } from '../../src/runtime/container-runtime.ts'
import type { Engine } from './archive-metadata.ts'
import { SimulatedContainer, type Text } from './simulated-container.ts'
import type { FreezerTree } from './simulated-freezer.ts'

export interface PodSettings {
  readonly namespace: Text
  readonly name: Text
  readonly uid?: Text
  readonly isReady?: boolean
  readonly containers: readonly ContainerSettings[]
}

export interface ContainerSettings {
  readonly name: Text
  readonly state?: ContainerState
  readonly memoryBytes?: number
  readonly writableLayerBytes?: number
  readonly image?: Text
  readonly attempt?: number
}

export interface SimulatedPod {
  readonly id: string
  readonly namespace: Buffer
  readonly name: Buffer
  readonly uid: Buffer
  readonly createdAt: Date
  isReady: boolean
  readonly containers: SimulatedContainer[]
  /** Its container with this name; throws when there is none. */
  readonly container: (name: string) => SimulatedContainer
}

/** The pods on the simulated node. Everything can change while the runtime runs. */
export class SimulatedPods {
  readonly #pods = new Map<string, SimulatedPod>()
  readonly #engine: Engine
  readonly #freezer: FreezerTree | undefined

  constructor(engine: Engine, freezer: FreezerTree | undefined) {
    this.#engine = engine
    this.#freezer = freezer
  }

  add(settings: PodSettings): SimulatedPod {
    const uid = settings.uid ?? randomUid()
    const pod: SimulatedPod = {
      id: randomId(),
      namespace: bytesOf(settings.namespace),
      name: bytesOf(settings.name),
      uid: bytesOf(uid),
      createdAt: new Date(),
      isReady: settings.isReady ?? true,
      containers: [],
      container: (name) => {
        const found = pod.containers.findLast((each) => each.name.equals(Buffer.from(name)))
        if (found === undefined)
          throw new Error(`Cannot find container "${name}": the simulated pod has none of that name`)
        return found
      },
    }
    this.#pods.set(pod.id, pod)
    for (const container of settings.containers) this.addContainer(pod, container)
    return pod
  }

  /** Also a restart: the same name with the next attempt. */
  addContainer(pod: SimulatedPod, settings: ContainerSettings): SimulatedContainer {
    const id = randomId()
    const container = new SimulatedContainer({
      id,
      sandboxId: pod.id,
      name: bytesOf(settings.name),
      attempt: settings.attempt ?? 0,
      state: settings.state ?? 'running',
      memoryBytes: settings.memoryBytes ?? 64 * 1024,
      writableLayerBytes: settings.writableLayerBytes ?? 4096,
      image: bytesOf(settings.image ?? 'localhost/counter:1'),
      cgroupsPath: this.#cgroupsPath(pod, id),
      freezer: this.#freezer,
    })
    pod.containers.push(container)
    return container
  }

  removeContainer(container: SimulatedContainer): void {
    container.exit()
    for (const pod of this.#pods.values()) {
      const at = pod.containers.indexOf(container)
      if (at !== -1) pod.containers.splice(at, 1)
    }
  }

  remove(pod: SimulatedPod): void {
    for (const container of pod.containers) container.exit()
    this.#pods.delete(pod.id)
  }

  list(): SimulatedPod[] {
    return [...this.#pods.values()]
  }

  containers(): SimulatedContainer[] {
    return this.list().flatMap((pod) => pod.containers)
  }

  /** Both runtimes also take a unique beginning of an id. */
  find(id: string): { pod: SimulatedPod; container: SimulatedContainer } | undefined {
    if (id === '') return undefined
    const found = this.list().flatMap((pod) =>
      pod.containers.filter((each) => each.id.startsWith(id)).map((container) => ({ pod, container })),
    )
    return found.length === 1 ? found[0] : undefined
  }

  #cgroupsPath({ uid }: SimulatedPod, id: string): string {
    const text = uid.toString('latin1')
    return this.#engine === 'cri-o'
      ? `kubepods-burstable-pod${text.replaceAll('-', '_')}.slice:crio:${id}`
      : `/kubepods/burstable/pod${text}/${id}`
  }
}

function bytesOf(text: Text): Buffer {
  return typeof text === 'string' ? Buffer.from(text) : Buffer.from(text)
}

function randomId(): string {
  return randomBytes(32).toString('hex')
}

function randomUid(): string {
  return randomBytes(16)
    .toString('hex')
    .replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-')
}
