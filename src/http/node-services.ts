import type { ContainerIdentity } from '../checkpoint/identity.ts'

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

/** What runs, at one moment. */
export interface RunningLook {
  readonly namespaces: readonly string[]
  /** In order, those of the namespaces that are seen; the runtime is asked about no other. */
  readonly describe: (sees: (namespace: string) => boolean) => Promise<readonly RunningContainer[]>
}

export interface NodeStatus {
  readonly node: string
  readonly agentVersion: string
  readonly runtime: { readonly name: string; readonly version: string } | undefined
  readonly canCheckpoint: {
    readonly state: 'yes' | 'no' | 'unknown'
    readonly code?: string
    readonly reason?: string
    readonly hint?: string
    readonly checkedAt?: Date
  }
  readonly disk: {
    readonly totalBytes: number
    readonly freeBytes: number
    readonly archiveBytes: number
    readonly floorBytes: number
  }
  readonly checkpoints: { readonly count: number; readonly byState: Readonly<Record<string, number>> }
  readonly captures: {
    readonly running: number
    readonly queued: number
    readonly queueLimit: number
    /** Whole archives that could not be published and are kept in staging. */
    readonly unpublished: number
  }
  readonly freezeGuard: {
    readonly policy: 'report' | 'resume'
    /** Containers somebody else left frozen; counts only, no names. */
    readonly frozenNow: number
    readonly resumedTotal: number
    readonly foreignResumedTotal: number
    readonly canLook: boolean
  }
  readonly leftoverImages?:
    | { readonly containers: number; readonly bytes: number; readonly oldestAt: Date | undefined }
    | undefined
  readonly custody: { readonly keyId: string; readonly publicKey: string }
  readonly tlsFingerprint: string | undefined
}

export type HealthCheck =
  | { readonly name: string; readonly state: 'ok' }
  | {
      readonly name: string
      /** `degraded` is shown, and does not make the agent unready. */
      readonly state: 'degraded' | 'failed'
      /** Shown to anybody: without names, paths and texts of others. */
      readonly reason: string
      readonly hint: string
    }

export interface HealthServices {
  readonly isAlive: () => boolean
  readonly checks: () => readonly HealthCheck[]
}
