import type { CaptureJob } from '../checkpoint/capture-job.ts'
import type { Checkpoint } from '../checkpoint/checkpoint.ts'
import type { ContainerIdentity } from '../checkpoint/identity.ts'
import type { Problem } from '../checkpoint/problem.ts'
import type { RetentionServices } from './retention-services.ts'

/** What the routes need of the agent. `agent/` provides it; tests pass plain functions. */
export interface HttpServices {
  readonly node: { readonly status: () => Promise<NodeStatus> }
  readonly containers: { readonly listRunning: () => Promise<readonly RunningContainer[]> }
  readonly captures: CaptureServices
  readonly checkpoints: CheckpointServices
  readonly actions: CheckpointActions
  readonly contents: ContentServices
  readonly custody: CustodyServices
  readonly retention: RetentionServices
  readonly kubelet: KubeletServices
  readonly health: HealthServices
  readonly metrics: () => Promise<{ readonly contentType: string; readonly text: string }>
}

/** Who does something, as the custody log keeps it. */
export interface Actor {
  readonly user: string
  readonly groups: readonly string[]
  readonly address?: string
  readonly requestId?: string
}

/** Each is in the custody log before it is answered. All throw ConflictError (`CheckpointChanged`) for another file. */
export interface CheckpointActions {
  /** With the checkpoint as it is then. Throws ConflictError (`PinManaged`). */
  readonly pin: (
    checkpoint: Checkpoint,
    order: { readonly actor: Actor; readonly reason?: string },
  ) => Promise<Checkpoint>
  /** Throws ConflictError (`PinManaged`, `PinNotRecognized`). */
  readonly unpin: (checkpoint: Checkpoint, order: { readonly actor: Actor }) => Promise<Checkpoint>
  readonly verify: (checkpoint: Checkpoint, order: { readonly actor: Actor }) => Promise<Verification>
  /** Throws ConflictError (`Pinned`, `InUse`, `BeingWritten`). */
  readonly remove: (checkpoint: Checkpoint, order: { readonly actor: Actor }) => Promise<void>
}

export interface Verification {
  readonly isIntact: boolean
  readonly sha256: string
  readonly sizeBytes: number
  readonly index: 'same' | 'different' | undefined
  readonly custody: 'same' | 'different' | undefined
  readonly problems: readonly Problem[]
}

/** The record of who did what, and what is signed with its key. */
export interface CustodyServices {
  /** A page may be short, or empty, and not be the last. */
  readonly page: (query: {
    readonly after: number
    readonly limit: number
    readonly checkpointId?: string
    readonly signal?: AbortSignal
  }) => Promise<{ readonly entries: readonly CustodyEntry[]; readonly next: number | undefined }>
  readonly verify: (head: ChainEnd | undefined) => Promise<CustodyReport>
  /** Lines of the log, as they stand. */
  readonly export: (after: number) => AsyncIterable<Uint8Array>
  /** Throws NotFoundError, ConflictError (`DigestUnknown`). */
  readonly manifest: (checkpointId: string) => DsseEnvelope
}

export interface ChainEnd {
  readonly seq: number
  readonly hash: string
}

export interface CustodyEntry {
  readonly seq: number
  readonly time: string
  readonly node: string
  readonly actor: Actor
  readonly action: string
  readonly checkpoint?: {
    readonly id: string
    readonly fileName: string
    readonly sizeBytes?: number
    readonly sha256?: string
  }
  readonly detail?: Readonly<Record<string, unknown>>
  readonly outcome: string
  readonly previous: string
  readonly hash: string
}

export interface CustodyReport {
  readonly isSound: boolean
  readonly problems: readonly {
    readonly code: string
    readonly file?: string
    readonly line?: number
    readonly detail: string
  }[]
  readonly problemCount: number
  readonly files: number
  readonly entries: number
  readonly first: ChainEnd | undefined
  readonly last: ChainEnd | undefined
  readonly head: ChainEnd | undefined
  readonly keyId: string | undefined
}

export interface DsseEnvelope {
  readonly payloadType: string
  readonly payload: string
  readonly signatures: readonly { readonly keyid: string; readonly sig: string }[]
}

/** The bytes of archives. What is opened is to be closed in any case. */
export interface ContentServices {
  /**
   * Throws ConflictError (`ArchiveIncomplete`, `CheckpointChanged`, `NotReadable`), UnavailableError
   * (`TooManyDownloads`), InvalidInputError (`InvalidRecipient`, `TooManyRecipients`), NotAllowedError
   * (`EncryptionRequired`, `RecipientNotAllowed`).
   */
  readonly openArchive: (checkpoint: Checkpoint, request: EncryptableRequest) => Promise<OpenContent>
  /** The same, and NotFoundError (`MemberNotFound`), ConflictError (`NotAFile`). `member` is a name of the list. */
  readonly openMember: (
    checkpoint: Checkpoint,
    request: EncryptableRequest & { readonly member: string },
  ) => Promise<OpenContent>
  /** The same as for an archive; there is no encrypted form. */
  readonly readRootfsDiff: (
    checkpoint: Checkpoint,
    request: ContentRequest & { readonly skip: number; readonly limit: number },
  ) => Promise<RootfsDiff>
}

export interface ContentRequest {
  readonly actor: Actor
  /** Also what is not whole. */
  readonly acceptsIncomplete: boolean
  /** Aborts when the caller has left. */
  readonly signal: AbortSignal
}

export interface EncryptableRequest extends ContentRequest {
  /** As they were given; empty: plain. */
  readonly recipients: readonly string[]
}

export interface OpenContent {
  readonly sizeBytes: number
  /** Of the archive's file as it was opened. */
  readonly generation: string
  /** Whom it is encrypted to, each once; empty: plain. */
  readonly recipients: readonly string[]
  /**
   * `start` is called once it is on record that this is given out, right before the first byte. Rejects where it does
   * not end well; after `start` the sink is closed then.
   */
  readonly send: (order: {
    readonly first: number
    /** Exclusive. */
    readonly end: number
    readonly coding?: 'gzip' | 'zstd'
    readonly start: () => ContentSink
  }) => Promise<void>
  readonly close: () => Promise<void>
}

/** Where bytes go, one piece after the other. */
export interface ContentSink {
  /** Takes the piece before it returns, and resolves when its buffer may be used again. */
  readonly write: (piece: Buffer) => Promise<void>
  readonly end: () => Promise<void>
  /** Without an end: the caller must see that something is missing. */
  readonly close: () => void
}

export interface RootfsDiff {
  /** Whether the archive has a diff at all. */
  readonly isThere: boolean
  readonly changes: readonly RootfsChange[]
  readonly remaining: number
  /** Whether there can be no further changes that the archive does not hold. */
  readonly isComplete: boolean
  readonly problems: readonly Problem[]
}

export interface RootfsChange {
  /** Without a slash in front. */
  readonly path: string
  readonly change: 'added-or-changed' | 'changed' | 'deleted' | 'emptied'
  /** Of what is there now. */
  readonly entry?: CheckpointMember
}

export interface CaptureRequest {
  readonly namespace: string
  readonly pod: string
  readonly container?: string
  readonly podUid?: string
  readonly reason?: string
  readonly pin?: boolean
  readonly requestedBy: string
  readonly actor?: Actor
}

export interface CaptureServices {
  /**
   * Looks the pod up, admits and queues it. Throws NotFoundError (`PodNotFound`, `ContainerNotFound`), ConflictError
   * (`ContainerNotRunning`, `CaptureInFlight` with `extra.job`, `PodUidMismatch`), UnavailableError (`QueueFull`,
   * `ShuttingDown`, `RuntimeUnavailable`), OutOfSpaceError (`DiskFloor`), RuntimeFailureError.
   */
  readonly request: (request: CaptureRequest) => Promise<CaptureJob>
  /**
   * Resolves when the job is final, the time is over or the signal aborts (it may have aborted already); with the job
   * as it is then. `timeoutMs` 0 does not wait at all.
   */
  readonly wait: (
    jobId: string,
    options: { readonly timeoutMs?: number; readonly signal?: AbortSignal },
  ) => Promise<CaptureJob>
  /** Newest first. */
  readonly list: (page: { readonly limit: number; readonly before?: string }) => {
    readonly jobs: readonly CaptureJob[]
    readonly remaining: number
  }
  /** Throws NotFoundError. */
  readonly get: (jobId: string) => CaptureJob
  /** Resolves once the job is final. Throws NotFoundError, ConflictError (`CaptureFinished`). */
  readonly cancel: (jobId: string) => Promise<CaptureJob>
}

/** What is known of the archives on this node. */
export interface CheckpointServices {
  /** The page after the cursor; `next` is undefined on the last one. */
  readonly list: (query: CheckpointListQuery) => CheckpointListPage | Promise<CheckpointListPage>
  /** Every namespace that an archive claims to be of. */
  readonly namespaces: () => readonly string[] | Promise<readonly string[]>
  /** Throws NotFoundError (`CheckpointNotFound`). */
  readonly get: (id: string) => Checkpoint | Promise<Checkpoint>
  /** Reads the archive. Throws NotFoundError. The signal aborts when nobody waits for the answer any more. */
  readonly members: (
    id: string,
    page: { readonly skip: number; readonly limit: number; readonly signal: AbortSignal },
  ) => Promise<{
    readonly members: readonly CheckpointMember[]
    readonly remaining: number
    readonly problems: readonly Problem[]
  }>
  /**
   * Events after `lastEventId`, then live ones; without it live ones only. Where that event is not known any more,
   * `resync` comes first. `onEvent` may be called at once. Returns what ends it.
   */
  readonly watch: (lastEventId: string | undefined, onEvent: (event: NodeEvent) => void) => () => void
}

export interface CheckpointListPage {
  readonly items: readonly Checkpoint[]
  readonly remaining: number
  readonly next: CheckpointCursor | undefined
}

/** Every filter that is given must hold. */
export interface CheckpointListFilter {
  readonly namespace?: string
  readonly pod?: string
  readonly container?: string
  readonly podUid?: string
  readonly engine?: string
  readonly state?: string
  readonly identitySource?: string
  readonly pinned?: boolean
  /** Exclusive. */
  readonly takenAfter?: Date
  /** Exclusive. */
  readonly takenBefore?: Date
  readonly minBytes?: number
  /** Only what belongs to one of these namespaces, or to any, and does not merely claim to. */
  readonly belongsTo?: 'any' | readonly string[]
}

export interface CheckpointListQuery {
  readonly filter: CheckpointListFilter
  readonly order: {
    readonly key: 'takenAt' | 'discoveredAt' | 'sizeBytes' | 'fileName'
    readonly isDescending: boolean
  }
  readonly after?: CheckpointCursor
  readonly limit: number
}

/** The last row of a page: what it is sorted by, and its id. */
export interface CheckpointCursor {
  readonly value: string | number
  readonly id: string
}

export interface CheckpointMember {
  readonly name: string
  readonly type: string
  readonly sizeBytes: number
  readonly offset: number
  readonly modifiedSeconds: number
  readonly modifiedNanos: number
  readonly linkName?: string
}

export interface NodeEvent {
  /** A single line. */
  readonly id: string
  /** `resync`: events were lost, the list has to be read anew. */
  readonly type: 'added' | 'changed' | 'removed' | 'capture' | 'resync'
  readonly checkpoint?: Checkpoint
  readonly checkpointId?: string
  /** The one that the removed checkpoint belonged to. */
  readonly namespace?: string
  readonly job?: CaptureJob
}

/** The kubelet's endpoint in three questions, in the order in which the kubelet asks them. */
export interface KubeletServices {
  /** Whether the route exists at all (`kubelet.enabled`). */
  readonly enabled: boolean
  /** `pod`: no such pod here; `container`: the pod has no such container; an error: the runtime could not be asked. */
  readonly lookUp: (
    namespace: string,
    pod: string,
    container: string,
  ) => Promise<'pod' | 'container' | 'found' | { readonly error: string }>
  /**
   * Takes the checkpoint, waiting in the queue behind a capture of the same container. The wait ends after `timeoutMs`
   * or with the signal, the capture does not. Answers with the absolute path, or with the text of the kubelet's error.
   */
  readonly checkpoint: (
    request: KubeletCheckpointRequest,
  ) => Promise<{ readonly path: string } | { readonly error: string }>
  /** `capture.minimumWait` in seconds. */
  readonly minimumWaitSeconds: number
}

export interface KubeletCheckpointRequest {
  readonly namespace: string
  readonly pod: string
  readonly container: string
  /**
   * Undefined: the caller's timeout was negative, which the kubelet refuses only after it has found the container
   * running. 0: the time is over before it begins, so nothing is captured. Never more than a timer can hold.
   */
  readonly timeoutMs: number | undefined
  readonly requestedBy: string
  readonly actor?: Actor
  readonly signal: AbortSignal
}

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
  readonly captures: { readonly running: number; readonly queued: number; readonly queueLimit: number }
  readonly freezeGuard: {
    readonly policy: 'report' | 'resume'
    /** Containers somebody else left frozen; counts only, no names. */
    readonly frozenNow: number
    readonly resumedTotal: number
    readonly foreignResumedTotal: number
    readonly canLook: boolean
  }
  readonly custody: { readonly keyId: string; readonly publicKey: string }
  readonly tlsFingerprint: string | undefined
}

export interface HealthCheck {
  readonly name: string
  /** `degraded` is shown, and does not make the agent unready. */
  readonly state: 'ok' | 'degraded' | 'failed'
  readonly detail?: string
}

export interface HealthServices {
  readonly isAlive: () => boolean
  readonly checks: () => readonly HealthCheck[]
}
