import type { Policy } from '../retention/policy.ts'
import type { Clock } from '../shared/clock.ts'
import type { Logger } from '../shared/logger.ts'
import type { DiskFloor } from './directory/disk-space.ts'
import type { PermissionsPolicy } from './directory/permissions.ts'
import type { ArchiveReader } from './inspection/archive-reader.ts'
import type { ReaderProcesses, ReaderProcessesOptions } from './inspection/reader-processes.ts'

export interface AgentOptions {
  readonly version: string
  readonly nodeName: string
  readonly checkpointsDirectory: string
  readonly permissions: PermissionsPolicy
  /** Interval between full scans of the directory, which run whether or not events arrive. */
  readonly rescanMs: number
  readonly stateDirectory: string
  /** Path of the runtime's socket. If undefined, the agent tries the usual paths. */
  readonly runtimeSocket: string | undefined
  readonly containerdNamespace: string
  /** Directory of CRI-O's containers. It does not exist on nodes with containerd. */
  readonly crioStorage: string
  readonly kubeletEndpoint: boolean
  readonly capture: {
    readonly concurrency: number
    readonly queueLimit: number
    readonly maxDurationMs: number
    readonly minimumWaitMs: number
    readonly diskFloor: DiskFloor
    readonly sizeFactor: number | undefined
  }
  readonly content: {
    readonly concurrency: number
    readonly perUser: number
    readonly maxHoldMs: number
    readonly requireEncryption: boolean
    readonly recipients: readonly string[]
  }
  readonly inspection: { readonly concurrency: number; readonly perUser: number }
  readonly custody: { readonly maxBytes: number }
  readonly retention: { readonly policy: Policy }
  readonly freezeGuard: {
    readonly foreign: 'report' | 'resume'
    readonly foreignAfterMs: number
    readonly intervalMs: number
    readonly cgroupRoot: string
  }
  readonly clock: Clock
  readonly logger: Logger
  /** Opens a reader other than the one with its own processes, for tests that are not about reading. */
  readonly openReader?: (options: ReaderProcessesOptions) => AgentReader
}

export type AgentReader = ArchiveReader & Pick<ReaderProcesses, 'figures'>
