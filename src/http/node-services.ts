import type { ContainerIdentity } from '../checkpoint/identity.ts'

export interface RunningContainer {
  readonly identity: ContainerIdentity
  readonly image: string
  readonly startedAt: Date | undefined
  readonly memoryBytes: number | undefined
  readonly writableLayerBytes: number | undefined
  readonly lastCheckpoint: { readonly id: string; readonly takenAt: Date } | undefined
  /** Id of the running capture job. */
  readonly captureInFlight: string | undefined
}

/** The running containers at one moment. */
export interface RunningLook {
  readonly namespaces: readonly string[]
  /** Describes the containers in visible namespaces, in order; queries the runtime about no others. */
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
    /** Complete archives that could not be published and remain in staging. */
    readonly unpublished: number
  }
  readonly freezeGuard: {
    readonly policy: 'report' | 'resume'
    /** Containers that another process left frozen; a count only, no names. */
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
      /** `degraded` is reported but leaves the agent ready. */
      readonly state: 'degraded' | 'failed'
      /** Public text, free of names, paths and foreign error messages. */
      readonly reason: string
      readonly hint: string
    }

export interface HealthServices {
  readonly isAlive: () => boolean
  readonly checks: () => readonly HealthCheck[]
}
