import { DumpError } from './simulated-dump.ts'
import type { SimulatedContainer } from './simulated-container.ts'
import type { Personality } from './simulated-personality.ts'
import type { SimulatedPods } from './simulated-pods.ts'

/** The answers of the CRI calls that only look. */
export interface CriAnswers {
  readonly version: () => object
  readonly status: () => object
  readonly listPodSandbox: () => object
  readonly listContainers: () => object
  readonly containerStatus: (id: string, verbose: boolean) => object
  readonly listContainerStats: () => object
}

const MEMORY_OVERHEAD_BYTES = 512 * 1024

export interface AnsweringNode {
  readonly personality: Personality
  readonly pods: SimulatedPods
  readonly notReady: { readonly reason: string; readonly message: string } | undefined
}

export function criAnswers(node: AnsweringNode): CriAnswers {
  const { personality } = node
  return {
    version: () => ({
      version: '0.1.0',
      runtime_name: personality.engine,
      runtime_version: personality.version,
      runtime_api_version: 'v1',
    }),
    status: () => ({
      status: {
        conditions: [
          { type: 'RuntimeReady', status: node.notReady === undefined, ...node.notReady },
          { type: 'NetworkReady', status: true },
        ],
      },
    }),
    listPodSandbox: () => ({
      items: node.pods.list().map((pod) => ({
        id: pod.id,
        metadata: { name: pod.name, uid: pod.uid, namespace: pod.namespace, attempt: 0 },
        state: pod.isReady ? 'SANDBOX_READY' : 'SANDBOX_NOTREADY',
        created_at: nanoseconds(pod.createdAt),
        labels: {
          'io.kubernetes.pod.name': pod.name,
          'io.kubernetes.pod.namespace': pod.namespace,
          'io.kubernetes.pod.uid': pod.uid,
        },
      })),
    }),
    listContainers: () => ({
      containers: node.pods.containers().map((container) => ({
        id: container.id,
        pod_sandbox_id: container.sandboxId,
        metadata: { name: container.name, attempt: container.attempt },
        image: { image: container.image, user_specified_image: container.image },
        // CRI-O names images by their bare digits.
        image_ref: Buffer.from(`${personality.engine === 'cri-o' ? '' : 'sha256:'}${'4f98'.repeat(16)}`),
        state: criState(container),
        created_at: nanoseconds(container.createdAt),
      })),
    }),
    containerStatus: (id, verbose) => {
      const found = node.pods.find(id)
      if (found === undefined) throw new DumpError(personality.unknownContainer(id, 'status'))
      const { container } = found
      const hasStarted = container.state !== 'created'
      return {
        status: {
          id: container.id,
          state: criState(container),
          started_at: hasStarted ? nanoseconds(container.createdAt) : '0',
        },
        info: verbose ? { info: Buffer.from(JSON.stringify(verboseInfo(container))) } : {},
      }
    },
    // Neither runtime has figures of a container without a process.
    listContainerStats: () => ({
      stats: node.pods
        .containers()
        .filter(({ state }) => state === 'running')
        .map(({ id, memoryBytes, writableLayerBytes }) => ({
          attributes: { id },
          memory: {
            working_set_bytes: { value: memoryBytes + MEMORY_OVERHEAD_BYTES },
            usage_bytes: { value: memoryBytes + 2 * MEMORY_OVERHEAD_BYTES },
            rss_bytes: { value: memoryBytes },
          },
          writable_layer: { used_bytes: { value: writableLayerBytes } },
        })),
    }),
  }
}

/** Holds the environment, like the real one: a test can look for it where it must not turn up. */
function verboseInfo({ id, sandboxId, cgroupsPath }: SimulatedContainer): object {
  return {
    sandboxID: sandboxId,
    pid: 4711,
    runtimeType: 'io.containerd.runc.v2',
    runtimeSpec: {
      ociVersion: '1.2.1',
      process: { args: ['/bin/sh'], env: ['PATH=/bin', 'DB_PASSWORD=s3cr3t-from-env'], cwd: '/' },
      annotations: { 'io.kubernetes.cri.container-id': id },
      linux: { cgroupsPath },
    },
  }
}

function criState({ state }: SimulatedContainer): string {
  return `CONTAINER_${state.toUpperCase()}`
}

function nanoseconds(date: Date): string {
  return (BigInt(date.getTime()) * 1_000_000n).toString()
}
