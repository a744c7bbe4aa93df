import type { ContainerIdentity } from '../checkpoint/identity.ts'
import type { ContainerRuntime } from '../runtime/container-runtime.ts'
import type { JobStore } from '../store/job-store.ts'
import type { NodeContainers } from './node-containers.ts'

export interface RunningContainer {
  readonly identity: ContainerIdentity
  readonly image: string
  readonly startedAt: Date | undefined
  readonly memoryBytes: number | undefined
  readonly writableLayerBytes: number | undefined
  readonly lastCheckpoint: { readonly id: string; readonly takenAt: Date } | undefined
  /** The id of the job. */
  readonly captureInFlight: string | undefined
}

export interface RunningContainersSources {
  readonly runtime: ContainerRuntime
  readonly containers: NodeContainers
  readonly store: JobStore
  readonly captureInFlight: (containerId: string) => string | undefined
}

/** What can be checkpointed on this node, by namespace, pod and container. */
export async function listRunningContainers(sources: RunningContainersSources): Promise<readonly RunningContainer[]> {
  const { runtime, containers, store, captureInFlight } = sources
  const [view, usage] = await Promise.all([
    containers.read(),
    // Figures are an extra: a runtime that has none still lists its containers.
    runtime.listUsage().catch(() => new Map<string, never>()),
  ])
  const running = await Promise.all(
    view.listRunning().map(async ({ identity, image }) => {
      const details = await runtime.findContainer(identity.containerId).catch(() => undefined)
      const figures = usage.get(identity.containerId)
      return {
        identity,
        image,
        startedAt: details?.startedAt,
        memoryBytes: figures?.memoryBytes,
        writableLayerBytes: figures?.writableLayerBytes,
        lastCheckpoint: store.findLastCheckpoint(identity),
        captureInFlight: captureInFlight(identity.containerId),
      }
    }),
  )
  return running.toSorted((a, b) => compare(sortKey(a.identity), sortKey(b.identity)))
}

function sortKey({ namespace, pod, container }: ContainerIdentity): string {
  return [namespace, pod, container].join('\0')
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}
