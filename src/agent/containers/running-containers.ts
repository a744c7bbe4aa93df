import type { RunningContainer, RunningLook } from '../../http/node-services.ts'
import type { ContainerIdentity } from '../../checkpoint/identity.ts'
import type { ContainerDetails, ContainerRuntime, ContainerUsage } from '../../runtime/container-runtime.ts'
import type { JobStore } from '../../store/job-store.ts'
import type { NodeContainer, NodeContainers } from './node-containers.ts'
import { SharedWork } from '../../shared/shared-work.ts'

export interface RunningContainersSources {
  readonly runtime: ContainerRuntime
  readonly containers: NodeContainers
  readonly store: JobStore
  readonly captureInFlight: (containerId: string) => string | undefined
}

/** Lists the containers that can be checkpointed on this node. Concurrent callers share each call to the runtime. */
export class RunningContainers {
  readonly #sources: RunningContainersSources
  readonly #views = new SharedWork<readonly NodeContainer[]>()
  readonly #usages = new SharedWork<ReadonlyMap<string, ContainerUsage>>()
  readonly #details = new SharedWork<ContainerDetails | undefined>()

  constructor(sources: RunningContainersSources) {
    this.#sources = sources
  }

  async look(): Promise<RunningLook> {
    const running = await this.#views.join('', async () => (await this.#sources.containers.read()).listRunning())
    return {
      namespaces: [...new Set(running.map(({ identity }) => identity.namespace))],
      describe: (sees) => this.#describe(running.filter(({ identity }) => sees(identity.namespace))),
    }
  }

  async #describe(visible: readonly NodeContainer[]): Promise<readonly RunningContainer[]> {
    if (visible.length === 0) return []
    const { runtime, store, captureInFlight } = this.#sources
    // Figures are optional: containers are listed even if the runtime has none.
    const usage = this.#usages.join('', () => runtime.listUsage().catch(() => new Map<string, never>()))
    const described = await Promise.all(
      visible.map(async ({ identity, image }) => {
        const { containerId } = identity
        const details = await this.#details.join(containerId, () =>
          runtime.findContainer(containerId).catch(() => undefined),
        )
        const figures = (await usage).get(containerId)
        return {
          identity,
          image,
          startedAt: details?.startedAt,
          memoryBytes: figures?.memoryBytes,
          writableLayerBytes: figures?.writableLayerBytes,
          lastCheckpoint: store.findLastCheckpoint(identity),
          captureInFlight: captureInFlight(containerId),
        }
      }),
    )
    return described.toSorted((a, b) => compare(sortKey(a.identity), sortKey(b.identity)))
  }
}

function sortKey({ namespace, pod, container }: ContainerIdentity): string {
  return [namespace, pod, container].join('\0')
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}
