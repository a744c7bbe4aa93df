import type { z } from 'zod'
import {
  size,
  duration,
  flag,
  integer,
  mode,
  optionalFactor,
  optionalPath,
  path,
  percentage,
  word,
} from './setting-types.ts'
import { recipientList } from './recipient-list.ts'
import { apiServerUrl, audienceList, listenAddress, runtimeSocket, socketPath } from './server-setting-types.ts'

/** One setting: its parser, its default and its purpose. */
export interface Setting {
  readonly schema: z.ZodType<unknown, string>
  readonly defaultText: string
  readonly meaning: string
}

/** All settings. Names, defaults, `--help` and docs/reference/configuration.md are derived from this table. */
export const SETTINGS = {
  'node.name': {
    schema: word({ maxLength: 253, optional: true }),
    defaultText: '',
    meaning: 'name of this Kubernetes node; empty: the variable NODE_NAME, or else the name of the host',
  },
  'checkpoints.directory': {
    schema: path(),
    defaultText: '/var/lib/kubelet/checkpoints',
    meaning: 'where the archives are',
  },
  'checkpoints.permissions': {
    schema: mode('enforce', 'report'),
    defaultText: 'enforce',
    meaning: 'what to do with archives that others than root can read or write: take those rights away, or only say so',
  },
  'checkpoints.rescanInterval': {
    schema: duration({ min: '1s' }),
    defaultText: '60s',
    meaning: 'how often the whole directory is read through; events tell of most changes at once',
  },
  'state.directory': {
    schema: path(),
    defaultText: '/var/lib/checkpoint-agent',
    meaning: "the agent's own directory: its database, its self-signed certificate",
  },
  'runtime.socket': {
    schema: runtimeSocket(),
    defaultText: '',
    meaning: 'CRI socket of the container runtime; empty: look for it in the usual places',
  },
  'runtime.containerdNamespace': {
    schema: word({ maxLength: 76 }),
    defaultText: 'k8s.io',
    meaning: "containerd's namespace for the containers of Kubernetes",
  },
  'runtime.crioStorage': {
    schema: path(),
    defaultText: '/var/lib/containers/storage/overlay-containers',
    meaning: 'where CRI-O keeps its containers: memory images that failed checkpoints left there are reported',
  },
  'server.address': {
    schema: listenAddress(),
    defaultText: '127.0.0.1:9443',
    meaning:
      'TCP address to listen on, as host:port or [host]:port; empty: none; where nobody says anything and server.auth.mode is not none: [::]:9443',
  },
  'server.socket': {
    schema: socketPath(),
    defaultText: '/run/checkpoint-agent/agent.sock',
    meaning: 'unix socket to listen on; empty: none',
  },
  'server.kubeletEndpoint': {
    schema: flag(),
    defaultText: 'true',
    meaning: "whether the kubelet's route POST /checkpoint/... is served",
  },
  'server.limits.connections': {
    schema: integer({ min: 16, max: 65536 }),
    defaultText: '512',
    meaning:
      'how many connections the TCP port holds; beyond that, unauthenticated connections are closed first, then those of the user with the most',
  },
  'server.limits.capturesPerMinute': {
    schema: integer({ min: 1, max: 100000 }),
    defaultText: '60',
    meaning: 'how many captures one user may begin in a minute',
  },
  'server.limits.contentPerMinute': {
    schema: integer({ min: 1, max: 100000 }),
    defaultText: '600',
    meaning: 'how many downloads, of archives and of members, one user may begin in a minute',
  },
  'server.limits.inspectionsPerMinute': {
    schema: integer({ min: 1, max: 100000 }),
    defaultText: '120',
    meaning: 'how often one user may have an archive looked into in a minute: members, a member, rootfs diff',
  },
  'server.limits.verifiesPerMinute': {
    schema: integer({ min: 1, max: 100000 }),
    defaultText: '12',
    meaning: 'how many verifications one user may begin in a minute',
  },
  'server.limits.changesPerMinute': {
    schema: integer({ min: 1, max: 100000 }),
    defaultText: '120',
    meaning: 'how many pins, unpins and removals one user may ask for in a minute',
  },
  'server.limits.accessPerMinute': {
    schema: integer({ min: 1, max: 100000 }),
    defaultText: '60',
    meaning: 'how often one user may ask in a minute what it may do',
  },
  'server.auth.mode': {
    schema: mode('kubernetes', 'tokens', 'none'),
    defaultText: 'none',
    meaning:
      'who may call: kubernetes (users of the cluster, by its RBAC), tokens (those of server.auth.tokensFile) or none (everyone, on a loopback address only)',
  },
  'server.auth.audiences': {
    schema: audienceList(),
    defaultText: '',
    meaning: 'whom a bearer token must be for, with commas between them; empty: the API server',
  },
  'server.auth.tokenTtl': {
    schema: duration({ min: '1s', usualUnit: 'm' }),
    defaultText: '2m',
    meaning: 'how long it is remembered whose token it is',
  },
  'server.auth.allowTtl': {
    schema: duration({ min: '1s', usualUnit: 'm' }),
    defaultText: '5m',
    meaning: 'how long a permission is remembered',
  },
  'server.auth.denyTtl': {
    schema: duration({ min: '1s' }),
    defaultText: '30s',
    meaning: 'how long the lack of a permission is remembered',
  },
  'server.auth.clientCaFile': {
    schema: optionalPath(),
    defaultText: '',
    meaning: 'authorities (PEM) of further client certificates; empty: none',
  },
  'server.auth.clusterCertificates': {
    schema: flag(),
    defaultText: 'true',
    meaning: "whether client certificates of the cluster's users and front proxies are taken",
  },
  'server.auth.tokensFile': {
    schema: optionalPath(),
    defaultText: '',
    meaning: 'users and digests of their tokens (YAML) for server.auth.mode tokens',
  },
  'server.tls.certFile': {
    schema: optionalPath(),
    defaultText: '',
    meaning:
      'certificate (PEM) of the TCP listener; empty: plain HTTP, or one of its own making where server.auth.mode is not none',
  },
  'server.tls.keyFile': {
    schema: optionalPath(),
    defaultText: '',
    meaning: 'private key (PEM) of the certificate',
  },
  'server.tls.selfSigned': {
    schema: flag(),
    defaultText: 'false',
    meaning: 'use a certificate of its own making, kept in state.directory',
  },
  'kubernetes.apiServer': {
    schema: apiServerUrl(),
    defaultText: '',
    meaning: 'URL of the API server; empty: the variables KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT of a pod',
  },
  'kubernetes.tokenFile': {
    schema: path(),
    defaultText: '/var/run/secrets/kubernetes.io/serviceaccount/token',
    meaning: "the agent's own token for the API server",
  },
  'kubernetes.caFile': {
    schema: path(),
    defaultText: '/var/run/secrets/kubernetes.io/serviceaccount/ca.crt',
    meaning: 'authority (PEM) of the API server',
  },
  'capture.concurrency': {
    schema: integer({ min: 1, max: 16 }),
    defaultText: '1',
    meaning: 'how many containers of the node are checkpointed at once',
  },
  'capture.queueLimit': {
    schema: integer({ min: 1, max: 10_000 }),
    defaultText: '64',
    meaning: 'how many captures may wait for their turn',
  },
  'capture.maxDuration': {
    schema: duration({ min: '1s', usualUnit: 'h' }),
    defaultText: '1h',
    meaning: 'after this long a running capture is cancelled',
  },
  'capture.minimumWait': {
    schema: duration({ min: '1s', wholeSeconds: true }),
    defaultText: '120s',
    meaning: "a smaller timeout of a caller of the kubelet's route is raised to this, as the kubelet does",
  },
  'capture.diskFloor.percent': {
    schema: percentage(),
    defaultText: '5%',
    meaning: 'a capture that may leave less than this part of the disk free is refused',
  },
  'capture.diskFloor.minFree': {
    schema: size(),
    defaultText: '2GiB',
    meaning: 'a capture that may leave less than this free is refused',
  },
  'capture.sizeFactor': {
    schema: optionalFactor({ max: 100 }),
    defaultText: '',
    meaning:
      "room a capture needs, as a multiple of the container's memory and writable layer; empty: containerd 4, cri-o 2",
  },
  'content.concurrency': {
    schema: integer({ min: 1, max: 1000 }),
    defaultText: '8',
    meaning: 'how many downloads may go on at once; further ones wait for up to 10 seconds',
  },
  'content.perUser': {
    schema: integer({ min: 1, max: 1000 }),
    defaultText: '4',
    meaning: 'how many of them for one user',
  },
  'content.maxHold': {
    schema: duration({ min: '0s', usualUnit: 'h' }),
    defaultText: '6h',
    meaning: 'how long a reader keeps its archive from being removed',
  },
  'content.requireEncryption': {
    schema: flag(),
    defaultText: 'false',
    meaning: 'whether content leaves the node only encrypted, to content.recipients',
  },
  'content.recipients': {
    schema: recipientList(),
    defaultText: '',
    meaning: 'public keys of age that content.requireEncryption allows, with commas between them',
  },
  'inspection.concurrency': {
    schema: integer({ min: 1, max: 64 }),
    defaultText: '2',
    meaning:
      'how many archives may be looked into or verified for callers at once; further callers wait for up to 10 seconds',
  },
  'inspection.perUser': {
    schema: integer({ min: 1, max: 64 }),
    defaultText: '1',
    meaning: 'how many of them for one user',
  },
  'custody.maxSize': {
    schema: size(),
    defaultText: '1GiB',
    meaning: 'how large the custody log may become before content and removals are refused',
  },
  'freezeGuard.foreign': {
    schema: mode('report', 'resume'),
    defaultText: 'report',
    meaning: 'what to do with a container that somebody else left frozen: report or resume',
  },
  'freezeGuard.foreignAfter': {
    schema: duration({ min: '0s', usualUnit: 'm' }),
    defaultText: '5m',
    meaning: 'how long a container must be frozen before it counts as left frozen by somebody else',
  },
  'freezeGuard.interval': {
    schema: duration({ min: '100ms' }),
    defaultText: '30s',
    meaning: 'how often the guard checks all containers of the node',
  },
  'freezeGuard.cgroupRoot': {
    schema: path(),
    defaultText: '/sys/fs/cgroup',
    meaning: 'where the cgroup file systems are mounted',
  },
  'shutdown.captureGrace': {
    schema: duration({ min: '0s', usualUnit: 'm' }),
    defaultText: '10m',
    meaning: 'how long captures in flight may go on after SIGTERM before they are cancelled',
  },
  'log.level': {
    schema: mode('debug', 'info', 'warn', 'error'),
    defaultText: 'info',
    meaning: 'debug, info, warn or error',
  },
  'debug.failPoint': {
    schema: word({ maxLength: 100, optional: true }),
    defaultText: '',
    meaning: 'for tests only: the agent kills itself when it comes to this point',
  },
} as const satisfies Record<string, Setting>

export type SettingKey = keyof typeof SETTINGS

export type SettingValues = { readonly [K in SettingKey]: z.output<(typeof SETTINGS)[K]['schema']> }

export const SETTING_KEYS = Object.keys(SETTINGS) as readonly SettingKey[]

export function isSettingKey(key: string): key is SettingKey {
  return Object.hasOwn(SETTINGS, key)
}

/**
 * Names the environment variable of a setting: `server.tls.certFile` becomes
 * `CHECKPOINT_AGENT_SERVER_TLS_CERT_FILE`.
 */
export function variableName(key: SettingKey): string {
  return `CHECKPOINT_AGENT_${key
    .replaceAll(/[A-Z]/g, (letter) => `_${letter}`)
    .replaceAll('.', '_')
    .toUpperCase()}`
}
