import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type {
  ContainerConfig,
  ContainerState,
  CriAdmin,
  NamespaceOptions,
  SandboxConfig,
} from '../../support/cri-admin.ts'
import { BUSYBOX_IMAGE } from '../../support/oci-image.ts'
import { readFreezerState } from './cgroup-tree.ts'
import type { FreezerState } from './cgroup-tree.ts'

export interface PodSpec {
  readonly namespace: string
  readonly name: string
  readonly uid?: string
  /** Pod labels: on the sandbox only, as the kubelet does it. */
  readonly labels?: Readonly<Record<string, string>>
  readonly containers: readonly ContainerSpec[]
  /** The pod's own cgroup is made below it (a systemd slice is taken as it is). */
  readonly cgroupParent: string
  readonly logRoot?: string
}

export interface ContainerSpec {
  readonly name: string
  /** `localhost/busybox:1` when absent. */
  readonly image?: string
  readonly command: readonly string[]
  readonly env?: Readonly<Record<string, string>>
  readonly mounts?: readonly {
    readonly hostPath: string
    readonly containerPath: string
    readonly readonly?: boolean
  }[]
  readonly restartCount?: number
  /** The next container starts when this one has ended, as after an init container. */
  readonly untilExited?: boolean
}

export interface RunningPod {
  readonly namespace: string
  readonly name: string
  readonly uid: string
  readonly sandboxId: string
  /** Container name to full container id. */
  readonly containers: Readonly<Record<string, string>>
}

type Placement = Pick<PodSpec, 'cgroupParent' | 'logRoot'>
type Identity = Partial<Pick<PodSpec, 'namespace' | 'name' | 'uid'>>

/** Runs a pod on the host's network with the labels and annotations that the kubelet gives it. */
export async function runPod(admin: CriAdmin, spec: PodSpec): Promise<RunningPod> {
  const pod = { ...spec, uid: spec.uid ?? randomUUID() }
  const sandboxConfig = toSandboxConfig(pod)
  const sandboxId = await admin.runPodSandbox(sandboxConfig)
  const containers: Record<string, string> = {}
  for (const container of pod.containers) {
    const id = await admin.createContainer(sandboxId, toContainerConfig(pod, container), sandboxConfig)
    await admin.startContainer(id)
    containers[container.name] = id
    if (container.untilExited === true) await waitForState(admin, id, 'CONTAINER_EXITED')
  }
  return { namespace: pod.namespace, name: pod.name, uid: pod.uid, sandboxId, containers }
}

export interface WebPod extends RunningPod {
  readonly containers: Readonly<Record<'init' | 'counter' | 'crash', string>>
}

/** `web-node-a` in `shop`: `counter` runs, `crash` has exited with 3, `init` has finished. */
export async function runWebPod(admin: CriAdmin, placement: Placement, identity: Identity = {}): Promise<WebPod> {
  const pod = await runPod(admin, {
    namespace: 'shop',
    name: 'web-node-a',
    labels: { app: 'web' },
    ...identity,
    ...placement,
    containers: [
      { name: 'init', command: ['/bin/true'], untilExited: true },
      { name: 'counter', command: COUNT, env: { GREETING: 'hello' } },
      { name: 'crash', command: ['sh', '-c', 'exit 3'], untilExited: true },
    ],
  })
  return { ...pod, containers: pick(pod, ['init', 'counter', 'crash']) }
}

/** A number that grows five times a second while the container is not frozen. Fails when it cannot be read. */
export async function readCounter(admin: CriAdmin, containerId: string): Promise<number> {
  const { stdout, stderr, exitCode } = await admin.execSync(containerId, ['cat', '/tmp/count'])
  if (exitCode !== 0) throw new Error(`Cannot read the counter of "${containerId}": ${stderr}`)
  return Number(stdout)
}

export interface HogPod extends RunningPod {
  readonly containers: Readonly<Record<'hog', string>>
}

/** One container with `sizeMiB` of dirty memory that does not compress, full when this returns. */
export async function hogPod(
  admin: CriAdmin,
  placement: Placement,
  { sizeMiB = 1536, ...identity }: Identity & { readonly sizeMiB?: number } = {},
): Promise<HogPod> {
  // dd reads all of it before it writes, and the pipe takes no more than its first 64 KiB: the rest stays in dd's buffer
  const command = `dd if=/dev/urandom bs=${sizeMiB}M count=1 2>/dev/null | (while :; do sleep 60; done)`
  const pod = await runPod(admin, {
    namespace: 'shop',
    name: 'hog',
    ...identity,
    ...placement,
    containers: [{ name: 'hog', command: ['sh', '-c', command] }],
  })
  const containers = pick(pod, ['hog'])
  await waitForMemory(admin, containers.hog, sizeMiB * 1024 * 1024)
  return { ...pod, containers }
}

export async function waitForMemory(admin: CriAdmin, containerId: string, bytes: number): Promise<void> {
  let usage = 0
  for (const start = Date.now(); Date.now() - start < 60_000; await sleep(100)) {
    usage = await admin.memoryUsageBytes(containerId)
    if (usage >= bytes) return
  }
  throw new Error(`Cannot fill the memory of "${containerId}": it holds ${usage} of ${bytes} bytes after 60 s`)
}

export async function waitForState(admin: CriAdmin, containerId: string, wanted: ContainerState): Promise<void> {
  let state: ContainerState = 'CONTAINER_UNKNOWN'
  for (const start = Date.now(); Date.now() - start < 20_000; await sleep(20)) {
    state = (await admin.containerStatus(containerId)).status.state
    if (state === wanted) return
  }
  throw new Error(`Cannot see "${containerId}" in ${wanted}: it is in ${state} after 20 s`)
}

/** The kernel's word on a container, which CRI does not pass on. */
export async function readContainerFreezer(admin: CriAdmin, containerId: string): Promise<FreezerState> {
  const { info } = await admin.containerStatus(containerId)
  const { runtimeSpec } = JSON.parse(info['info'] ?? '{}') as RuntimeInfo
  const cgroup = runtimeSpec?.linux?.cgroupsPath
  if (cgroup?.startsWith('/') !== true) {
    throw new Error(`Cannot read the freezer of "${containerId}": its cgroup is "${String(cgroup)}", not a path`)
  }
  return readFreezerState(cgroup)
}

/** Ends and forgets a pod as the kubelet does; a container that is frozen must be resumed first. */
export async function removePod(admin: CriAdmin, pod: RunningPod): Promise<void> {
  await admin.stopPodSandbox(pod.sandboxId)
  await admin.removePodSandbox(pod.sandboxId)
}

interface RuntimeInfo {
  readonly runtimeSpec?: { readonly linux?: { readonly cgroupsPath?: string } }
}

// The shell alone, without a program started for each step: while it waits for one (vfork) CRIU cannot stop it, and gives
// up after ten seconds, once in some 200 dumps. The number only grows, so what is written over never shows through.
const COUNT = [
  'sh',
  '-c',
  'n=0; mkfifo /tmp/tick; exec 3<>/tmp/tick; while :; do n=$((n+1)); echo $n 1<>/tmp/count; echo "count $n"; read -t 0.2 _ <&3; done',
]

/** As the kubelet asks for a pod with `hostNetwork`; a hostname would be refused together with it. */
const NAMESPACES: NamespaceOptions = { network: 'NODE', pid: 'CONTAINER', ipc: 'POD' }

function toSandboxConfig(pod: PodSpec & { readonly uid: string }): SandboxConfig {
  const { namespace, name, uid, cgroupParent, logRoot = '/var/log/pods' } = pod
  return {
    metadata: { name, uid, namespace, attempt: 0 },
    logDirectory: `${logRoot}/${namespace}_${name}_${uid}`,
    labels: { ...pod.labels, ...podLabels(pod) },
    annotations: { 'kubernetes.io/config.seen': new Date(0).toISOString(), 'kubernetes.io/config.source': 'api' },
    linux: {
      cgroupParent: cgroupParent.endsWith('.slice') ? cgroupParent : `${cgroupParent}/pod${uid}`,
      securityContext: { namespaceOptions: NAMESPACES },
    },
  }
}

function toContainerConfig(pod: PodSpec & { readonly uid: string }, container: ContainerSpec): ContainerConfig {
  const { name, command, image = BUSYBOX_IMAGE, env = {}, mounts = [], restartCount = 0 } = container
  return {
    metadata: { name, attempt: restartCount },
    image: { image },
    command,
    envs: Object.entries(env).map(([key, value]) => ({ key, value })),
    mounts: mounts.map((mount) => ({ readonly: false, ...mount })),
    labels: { ...podLabels(pod), 'io.kubernetes.container.name': name },
    annotations: {
      'io.kubernetes.container.hash': 'c0ffee',
      'io.kubernetes.container.restartCount': String(restartCount),
      'io.kubernetes.container.terminationMessagePath': '/dev/termination-log',
      'io.kubernetes.container.terminationMessagePolicy': 'File',
      'io.kubernetes.pod.terminationGracePeriod': '30',
    },
    logPath: `${name}/${restartCount}.log`,
    linux: { securityContext: { namespaceOptions: NAMESPACES } },
  }
}

function podLabels({ namespace, name, uid }: { namespace: string; name: string; uid: string }): Record<string, string> {
  return {
    'io.kubernetes.pod.name': name,
    'io.kubernetes.pod.namespace': namespace,
    'io.kubernetes.pod.uid': uid,
  }
}

function pick<Name extends string>(pod: RunningPod, names: readonly Name[]): Record<Name, string> {
  return Object.fromEntries(
    names.map((name) => {
      const id = pod.containers[name]
      if (id === undefined) throw new Error(`Cannot find container "${name}" in pod "${pod.name}"`)
      return [name, id]
    }),
  ) as Record<Name, string>
}
