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
  /** How often the whole directory is read through, events or not. */
  readonly rescanMs: number
  readonly stateDirectory: string
  /** Undefined: looked for in the usual places. */
  readonly runtimeSocket: string | undefined
  readonly containerdNamespace: string
  /** Where CRI-O keeps its containers; on containerd there is no such directory. */
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
  /** Opens another reader than that in processes of its own: for tests that are about what is done with its answers. */
  readonly openReader?: (options: ReaderProcessesOptions) => AgentReader
}

export type AgentReader = ArchiveReader & Pick<ReaderProcesses, 'figures'>
