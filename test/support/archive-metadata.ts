import type { DumpedProcess } from './criu-image-builder.ts'
import { type GoJson, goJson } from './go-json.ts'
import { member, type TarMember } from './tar-writer.ts'

export type Engine = 'containerd' | 'cri-o'

/** What the archive tells about its container. Texts go into JSON: bytes that are no UTF-8 become U+FFFD there, as in Go. */
export interface ArchiveContents {
  readonly engine: Engine
  readonly namespace: string
  readonly pod: string
  readonly podUid: string
  readonly container: string
  readonly containerId: string
  readonly sandboxId: string
  readonly attempt: number
  readonly image: string
  /** `sha256:` and 64 hex digits. */
  readonly imageId: string
  readonly processes: readonly DumpedProcess[]
  readonly createdAt: Date
  readonly startedAt: Date
  readonly checkpointedAt: Date
  readonly frozenMicros: number
  /** What the container printed, one line each. */
  readonly logLines: readonly string[]
  /** What it wrote into its root file system: path without a leading slash → content. */
  readonly changedFiles: ReadonlyMap<string, string | Uint8Array>
}

/** The members around the CRIU images, in the order in which the engine packs them. */
export interface MetadataMembers {
  readonly before: readonly TarMember[]
  readonly after: readonly TarMember[]
}

const UNSET_TIME = '0001-01-01T00:00:00Z'

export function metadataMembers(
  contents: ArchiveContents,
  built: { readonly rootfsDiff: Buffer; readonly stats: Buffer },
): MetadataMembers {
  const modifiedAt = contents.checkpointedAt
  const of = (name: string, content: string | Uint8Array, mode = 0o600) => member(name, content, { mode, modifiedAt })
  const diff = contents.changedFiles.size === 0 ? [] : [of('rootfs-diff.tar', built.rootfsDiff, 0o644)]
  const stats = of('stats-dump', built.stats, 0o644)
  const dumpLog = of('dump.log', dumpLogText(contents))
  if (contents.engine === 'cri-o') {
    return {
      before: [stats, dumpLog],
      after: [
        of('config.dump', goJson(configDump(contents), '  ')),
        of('spec.dump', goJson(spec(contents, crioAnnotations(contents)), '  ')),
        of('bind.mounts', goJson(bindMounts(contents), '  ')),
        ...diff,
        of('io.kubernetes.cri-o.LogPath', containerLog(contents, '+00:00'), 0o644),
      ],
    }
  }
  return {
    before: [],
    after: [
      of('config.dump', goJson(configDump(contents))),
      of('container.log', containerLog(contents, 'Z')),
      dumpLog,
      ...diff,
      of('spec.dump', goJson(spec(contents, containerdAnnotations(contents))), 0o644),
      stats,
      of('status', goJson(internalStatus(contents))),
      of('status.dump', goJson(criStatus(contents))),
    ],
  }
}

function configDump(contents: ArchiveContents): GoJson {
  const { container, pod, namespace, podUid, attempt, engine, image, imageId } = contents
  const name = `${container}_${pod}_${namespace}_${podUid}_${attempt}`
  return {
    id: contents.containerId,
    name: engine === 'cri-o' ? `k8s_${name}` : name,
    rootfsImage: image,
    rootfsImageRef: engine === 'cri-o' ? imageId.replace('sha256:', '') : imageId,
    rootfsImageName: image,
    runtime: engine === 'cri-o' ? 'runc' : 'io.containerd.runc.v2',
    createdTime: goTime(contents.createdAt),
    checkpointedTime: goTime(contents.checkpointedAt),
    restoredTime: UNSET_TIME,
    restored: false,
  }
}

function spec(contents: ArchiveContents, annotations: GoJson): GoJson {
  const main = contents.processes[0]
  const hasHostname = contents.engine === 'cri-o'
  return {
    ociVersion: '1.2.1',
    process: {
      user: { uid: 0, gid: 0, additionalGids: [0] },
      args: main?.argv ?? [],
      env: main?.env ?? [],
      cwd: '/',
      oomScoreAdj: 0,
    },
    root: { path: 'rootfs' },
    hostname: hasHostname ? 'node-a' : undefined,
    mounts: [
      { destination: '/proc', type: 'proc', source: 'proc', options: ['nosuid', 'noexec', 'nodev'] },
      {
        destination: '/dev',
        type: 'tmpfs',
        source: 'tmpfs',
        options: ['nosuid', 'strictatime', 'mode=755', 'size=65536k'],
      },
      { destination: '/etc/hosts', type: 'bind', source: hostsPath(contents), options: ['rbind', 'rprivate', 'rw'] },
    ],
    annotations,
    linux: {
      resources: { memory: {}, cpu: {} },
      cgroupsPath: `/kubepods/burstable/pod${contents.podUid}/${contents.containerId}`,
      namespaces: [{ type: 'pid' }, { type: 'ipc', path: '/proc/8220/ns/ipc' }, { type: 'mount' }],
    },
  }
}

function containerdAnnotations(contents: ArchiveContents): GoJson {
  return {
    'io.kubernetes.cri.container-name': contents.container,
    'io.kubernetes.cri.container-type': 'container',
    'io.kubernetes.cri.image-name': contents.image,
    'io.kubernetes.cri.sandbox-id': contents.sandboxId,
    'io.kubernetes.cri.sandbox-name': contents.pod,
    'io.kubernetes.cri.sandbox-namespace': contents.namespace,
    'io.kubernetes.cri.sandbox-uid': contents.podUid,
  }
}

function crioAnnotations(contents: ArchiveContents): GoJson {
  const labels = kubernetesLabels(contents)
  return {
    'io.container.manager': 'cri-o',
    ...labels,
    'io.kubernetes.cri-o.Annotations': 'null',
    'io.kubernetes.cri-o.ContainerID': contents.containerId,
    'io.kubernetes.cri-o.ContainerType': 'container',
    'io.kubernetes.cri-o.Created': goTime(contents.createdAt),
    'io.kubernetes.cri-o.Image': contents.image,
    'io.kubernetes.cri-o.ImageName': contents.image,
    'io.kubernetes.cri-o.ImageRef': contents.imageId.replace('sha256:', ''),
    'io.kubernetes.cri-o.Labels': goJson(labels),
    'io.kubernetes.cri-o.LogPath': logPath(contents),
    'io.kubernetes.cri-o.Metadata': goJson(metadata(contents)),
    'io.kubernetes.cri-o.SandboxID': contents.sandboxId,
    'io.kubernetes.cri-o.SandboxName': `k8s_${contents.pod}_${contents.namespace}_${contents.podUid}_0`,
    'io.kubernetes.cri-o.Volumes': '[]',
  }
}

function internalStatus(contents: ArchiveContents): GoJson {
  return {
    Version: 'v1',
    Pid: 8247,
    CreatedAt: nanoseconds(contents.createdAt),
    StartedAt: nanoseconds(contents.startedAt),
    FinishedAt: 0,
    ExitCode: 0,
    Reason: '',
    Message: '',
    Resources: { linux: {} },
    Restore: false,
  }
}

function criStatus(contents: ArchiveContents): GoJson {
  return {
    id: contents.containerId,
    metadata: metadata(contents),
    state: 1,
    created_at: nanoseconds(contents.createdAt),
    started_at: nanoseconds(contents.startedAt),
    image: { image: contents.image },
    image_ref: contents.imageId,
    labels: kubernetesLabels(contents),
    log_path: logPath(contents),
    resources: { linux: {} },
    user: { linux: { supplemental_groups: [0] } },
  }
}

function kubernetesLabels(contents: ArchiveContents): Readonly<Record<string, string>> {
  return {
    'io.kubernetes.container.name': contents.container,
    'io.kubernetes.pod.name': contents.pod,
    'io.kubernetes.pod.namespace': contents.namespace,
    'io.kubernetes.pod.uid': contents.podUid,
  }
}

function metadata({ container, attempt }: ArchiveContents): GoJson {
  return { name: container, attempt: attempt === 0 ? undefined : attempt }
}

function bindMounts(contents: ArchiveContents): GoJson {
  return [{ source: hostsPath(contents), destination: '/etc/hosts', file_type: 'file', permissions: 0o644 }]
}

function containerLog({ logLines, startedAt }: ArchiveContents, zone: string): string {
  return logLines
    .map(
      (line, second) =>
        `${goTime(new Date(startedAt.getTime() + second * 1000)).replace(/Z$/, zone)} stdout F ${line}\n`,
    )
    .join('')
}

function dumpLogText({ processes }: ArchiveContents): string {
  return [
    '(00.000000) CRIU run id = 5b1f0f5e-9d2c-4b8a-a7a1-0d6f0e3c9b11',
    '(00.000038) Version: 4.2.1 (gitid 0)',
    ...processes.map(({ pid }) => `(00.084489) \tUnseizing ${8246 + pid} into 1`),
    '(00.084500) Writing stats',
    '(00.084530) Dumping finished successfully',
    '',
  ].join('\n')
}

function logPath({ namespace, pod, podUid, container, attempt }: ArchiveContents): string {
  return `/var/log/pods/${namespace}_${pod}_${podUid}/${container}/${attempt}.log`
}

function hostsPath({ podUid }: ArchiveContents): string {
  return `/var/lib/kubelet/pods/${podUid}/etc-hosts`
}

/** Go leaves out trailing zeros of the fraction. */
function goTime(date: Date): string {
  return date.toISOString().replace(/\.?0+Z$/, 'Z')
}

function nanoseconds(date: Date): bigint {
  return BigInt(date.getTime()) * 1_000_000n
}
