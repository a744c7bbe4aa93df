import { status as Code } from '@grpc/grpc-js'
import type { ContainerState } from '../../src/runtime/container-runtime.ts'
import type { Engine } from './archive-metadata.ts'

/** How a call ends badly on the wire. */
export interface RuntimeFailure {
  readonly code: Code
  readonly details: string
}

/** What the node has of CRIU, as this runtime sees it. */
export type CriuOnNode = 'present' | 'missing' | 'too-old' | 'disabled'

/** The words of one runtime and version: codes, texts, and which question it asks first. */
export interface Personality {
  readonly engine: Engine
  readonly version: string
  readonly ociRuntime: 'runc' | 'crun'
  readonly hasTaskApi: boolean
  /** Before 2.4, a task that does not answer in time is reported as of unknown state instead of an error. */
  readonly slowTaskIsUnknown: boolean
  readonly checkpointMissing: () => RuntimeFailure | undefined
  readonly cannotCheckpoint: (id: string, criu: CriuOnNode) => RuntimeFailure | undefined
  readonly notInitialized: RuntimeFailure
  readonly unknownContainer: (id: string, call: 'status' | 'checkpoint') => RuntimeFailure
  readonly notRunning: (id: string, state: ContainerState) => RuntimeFailure
  readonly overlaps: (id: string) => RuntimeFailure
  readonly dumpFailed: (id: string, criuLog: string) => RuntimeFailure
  /** `reason` in Go's words: `open /x: no such file or directory`. */
  readonly exportFailed: (id: string, reason: string) => RuntimeFailure
}

/** `containerd 2.1.9`, `containerd 1.6.20`, `cri-o 1.36.3`, `cri-o 1.36.3 crun`, … */
export function personality(nameAndVersion: string): Personality {
  const [name, version = '', ociRuntime] = nameAndVersion.split(' ')
  const [major = 0, minor = 0, patch = 0] = version.split('.').map(Number)
  if (name === 'containerd') return containerd({ version, major, minor, patch })
  if (name === 'cri-o') return crio({ version, major, minor }, ociRuntime === 'crun' ? 'crun' : 'runc')
  throw new Error(`Cannot simulate "${nameAndVersion}": only containerd and cri-o are known`)
}

export const SERVICE_MISSING = (service: string): RuntimeFailure => ({
  code: Code.UNIMPLEMENTED,
  details: `unknown service ${service}`,
})

interface Version {
  readonly version: string
  readonly major: number
  readonly minor: number
  readonly patch?: number
}

function containerd({ version, major, minor, patch = 0 }: Version): Personality {
  const isAtLeast = (a: number, b: number, c: number) =>
    major !== a ? major > a : minor !== b ? minor > b : patch >= c
  // 2.2.7 and 2.3.4 brought the new check into their own lines, 2.4 has it from the start.
  const checksShimPath =
    isAtLeast(2, 4, 0) || (minor === 3 && isAtLeast(2, 3, 4)) || (minor === 2 && isAtLeast(2, 2, 7))
  return {
    engine: 'containerd',
    version,
    ociRuntime: 'runc',
    hasTaskApi: true,
    slowTaskIsUnknown: !isAtLeast(2, 4, 0),
    notInitialized: {
      code: major >= 2 ? Code.UNAVAILABLE : Code.UNKNOWN,
      details: 'server is not initialized yet',
    },
    checkpointMissing: () => {
      if (major >= 2) return undefined
      return {
        code: Code.UNIMPLEMENTED,
        details: isAtLeast(1, 6, 9)
          ? 'method CheckpointContainer not implemented'
          : 'unknown method CheckpointContainer for service runtime.v1.RuntimeService',
      }
    },
    cannotCheckpoint: checksShimPath ? newCriuCheck : oldCriuCheck,
    unknownContainer: (id, call) => ({
      code: Code.NOT_FOUND,
      details:
        call === 'status'
          ? `an error occurred when try to find container "${id}": not found`
          : `an error occurred when trying to find container the container status "${id}": an error occurred when try to find container "${id}": not found`,
    }),
    notRunning: (id, state) => ({
      code: Code.UNKNOWN,
      details: `container "${id}" is in CONTAINER_${state.toUpperCase()} state. only CONTAINER_RUNNING containers can be checkpointed`,
    }),
    overlaps: (id) => ({
      code: Code.ALREADY_EXISTS,
      details: `checkpointing container "${id}" failed: image "containerd.io/checkpoint/${id}:06-12-2026-10:00:00": already exists`,
    }),
    dumpFailed: (id, criuLog) => ({
      code: Code.UNKNOWN,
      details: `checkpointing container "${id}" failed: ${criuLog} path= /run/containerd/io.containerd.runtime.v2.task/k8s.io/${id}/criu-dump.log`,
    }),
    exportFailed: (_id, reason) => ({ code: Code.UNKNOWN, details: reason }),
  }
}

/** Asked on every call, before the container is looked up. */
function oldCriuCheck(id: string, criu: CriuOnNode): RuntimeFailure | undefined {
  const reason = {
    present: undefined,
    disabled: undefined, // these builds have no such setting
    missing: 'failed to check for criu version: exec: "criu": executable file not found in $PATH',
    'too-old': 'checkpoint/restore requires at least CRIU 31600, current version is 31500',
  }[criu]
  if (reason === undefined) return undefined
  return {
    code: Code.UNKNOWN,
    details: `CRIU binary not found or too old (<31600). Failed to checkpoint container "${id}": ${reason}`,
  }
}

function newCriuCheck(id: string, criu: CriuOnNode): RuntimeFailure | undefined {
  const reason = {
    present: undefined,
    disabled: 'criu support is disabled by configuration',
    missing: 'criu binary not found in shim path or system PATH',
    'too-old': 'checkpoint/restore requires at least CRIU 31600, current version is 31500',
  }[criu]
  return reason === undefined
    ? undefined
    : { code: Code.UNKNOWN, details: `failed to checkpoint container "${id}": ${reason}` }
}

function crio({ version, major, minor }: Version, ociRuntime: Personality['ociRuntime']): Personality {
  return {
    engine: 'cri-o',
    version,
    ociRuntime,
    hasTaskApi: false,
    slowTaskIsUnknown: false,
    notInitialized: { code: Code.UNAVAILABLE, details: 'server is not initialized yet' },
    checkpointMissing: () =>
      major === 1 && minor <= 24
        ? {
            code: Code.UNIMPLEMENTED,
            details: 'unknown method CheckpointContainer for service runtime.v1.RuntimeService',
          }
        : undefined,
    // Looked for once, when it starts: an absent CRIU and a switched-off one read the same.
    cannotCheckpoint: (id, criu) => {
      if (criu === 'present') return undefined
      return criu === 'too-old'
        ? unknown(`failed to checkpoint container ${id}: check for CRIU 31600 failed: CRIU version is 31500`)
        : unknown('checkpoint/restore support not available')
    },
    unknownContainer: (id) => ({
      code: Code.NOT_FOUND,
      details: `could not find container "${id}": container with ID starting with ${id} not found: ID does not exist`,
    }),
    notRunning: (id) => unknown(`container ${id} is not running`),
    overlaps: (id) =>
      unknown(`failed to pause container "${id}" before checkpointing: container ${id} is already paused`),
    dumpFailed: (id, criuLog) =>
      unknown(
        `failed to checkpoint container ${id}: running "/usr/bin/${ociRuntime}" ["checkpoint" "--image-path" "/var/lib/containers/storage/overlay-containers/${id}/userdata/checkpoint" "--leave-running" "${id}"] failed: \`/usr/bin/${ociRuntime} checkpoint ${id}\` failed: ${criuLog}: exit status 1`,
      ),
    exportFailed: (id, reason) =>
      unknown(
        `failed to write file system changes of container ${id}: error creating checkpoint export file ${reason}`,
      ),
  }
}

function unknown(details: string): RuntimeFailure {
  return { code: Code.UNKNOWN, details }
}
