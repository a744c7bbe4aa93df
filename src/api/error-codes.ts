/** The facts that clients can rely on about the `code` of a problem, or of the `error` of a failed capture. */
interface ErrorCodeFacts {
  readonly meaning: string
  /** The status of every problem with this code. Where it is absent, the status follows from what failed. */
  readonly status?: number
  /** The least `Retry-After` of an answer with this code. */
  readonly retryAfterSeconds?: number
}

/**
 * The stable codes of this API. A code keeps its name and its meaning; new ones may come. Reading the content of a
 * damaged archive may also fail with the code of the problem that the archive has.
 */
export const ERROR_CODES = {
  AgentRestarted: { meaning: 'The agent ended before the capture began; the container was not touched' },
  ArchiveGone: { meaning: 'The archive that was kept in the staging directory is gone, or no longer whole' },
  ArchiveIncomplete: { meaning: 'The archive is not whole' },
  ArchiveUnchecked: { meaning: 'The archive could not be checked, because its reader ended' },
  AuthorizationUnavailable: {
    meaning: 'The API server cannot be asked who the caller is or what it may do',
    retryAfterSeconds: 5,
  },
  BeingWritten: { meaning: 'The archive is still being written' },
  BodyTooLarge: { status: 413, meaning: 'The request body is too large' },
  CaptureCancelled: { status: 409, meaning: 'The capture was cancelled before its archive was whole' },
  CaptureFinished: { meaning: 'The capture has already ended' },
  CaptureInFlight: { status: 409, meaning: 'A capture of this container is in flight; `job` names it' },
  CaptureNotFound: { meaning: 'There is no such capture' },
  CaptureTimedOut: { meaning: 'The runtime did not finish within `capture.maxDuration`' },
  CheckpointChanged: { meaning: 'The file of the checkpoint is no longer the one that was meant' },
  CheckpointNameTaken: { meaning: 'Another checkpoint of this container was taken within the same second' },
  CheckpointNotFound: { meaning: 'There is no such checkpoint' },
  CheckpointNotImplemented: { status: 501, meaning: 'The runtime of this node cannot take checkpoints' },
  ContainerIdAmbiguous: { meaning: 'The runtime knows several containers whose ids begin like this one' },
  ContainerNotFound: { status: 404, meaning: 'There is no such container in the pod' },
  ContainerNotRunning: { status: 409, meaning: 'The container is not running' },
  ContainerPaused: { status: 409, meaning: 'The container is paused, or another checkpoint of it is in progress' },
  CriPluginDisabled: { meaning: 'The runtime does not serve CRI v1 on its socket' },
  CriuCannotDump: { meaning: 'CRIU cannot dump the container' },
  CriuDisabled: { meaning: 'Checkpointing is switched off in the runtime, or CRIU was missing when it started' },
  CriuMissing: { meaning: 'The node has no usable CRIU' },
  CriuTooOld: { meaning: 'The CRIU of the node is too old' },
  CustodyUnavailable: { meaning: 'The custody log cannot be written, so that nothing may happen that it records' },
  DeviceBusy: { meaning: 'A mount or cgroup that the dump needs is in use' },
  DigestUnknown: { meaning: 'The digest of the archive is not known yet' },
  DirectoryMissing: { meaning: 'A directory does not exist' },
  DiskFloor: { status: 507, meaning: 'The capture would leave less free space than `capture.diskFloor`' },
  DiskFull: { status: 507, meaning: 'A disk of the node was full before the archive was whole' },
  EncryptionRequired: { meaning: 'Content leaves this node encrypted only; name a recipient' },
  ExternalUnixSocket: { meaning: 'A process is connected to a unix socket outside the container' },
  FileLocks: { meaning: 'A process holds file locks, and CRIU was not told to dump them' },
  Forbidden: { meaning: 'The caller lacks the permission that `missingPermission` names' },
  ForeignHost: { meaning: 'Without access control the agent serves only requests for this machine' },
  ForeignOrigin: { meaning: 'Without access control the agent serves no web page of another origin' },
  FreezeUnknown: {
    status: 503,
    meaning: 'The runtime does not say whether the container is paused',
    retryAfterSeconds: 5,
  },
  HeadersTooLarge: { status: 431, meaning: 'The request headers are too large' },
  InternalError: { meaning: 'The agent failed in a way that it does not know; its log says more' },
  InUse: { meaning: 'The archive is being read' },
  InvalidPolicy: { meaning: 'The retention policy has mistakes' },
  InvalidRecipient: { meaning: 'A recipient is not an age recipient' },
  InvalidRequest: { meaning: 'The request is wrong; `problems` lists each mistake' },
  LocationNotWritable: { meaning: 'The checkpoint directory cannot be written' },
  MemberNotFound: { meaning: 'The archive has no such member' },
  MethodNotAllowed: { status: 405, meaning: 'The route does not support the method; `Allow` lists those it does' },
  NotAFile: { meaning: 'The member is not a file, so that it has no bytes' },
  NotReadable: { meaning: 'The file system refuses to read the archive' },
  PinManaged: { meaning: 'Somebody else manages the pin' },
  Pinned: { meaning: 'The checkpoint is pinned' },
  PinNotRecognized: { meaning: 'The marker beside the archive is not one that the agent knows' },
  PlanChanged: { meaning: 'The plan is no longer the one that was meant' },
  PlanFailed: { meaning: 'The retention plan could not be computed; nothing was removed' },
  PodNotFound: { status: 404, meaning: 'There is no such pod on this node' },
  PodUidMismatch: { meaning: 'The pod with this name has another UID' },
  PreconditionFailed: { status: 412, meaning: '`If-Match` does not name the current state' },
  QueueFull: { meaning: 'The capture queue is full', retryAfterSeconds: 30 },
  RangeNotSatisfiable: { status: 416, meaning: 'The content has no such bytes; `Content-Range` says how many it has' },
  ReaderUnavailable: { meaning: 'The process that reads archives has ended; ask again' },
  RecipientNotAllowed: { meaning: 'Content may not be encrypted to this recipient' },
  RequestTimeout: { status: 408, meaning: 'The request did not arrive in time' },
  RetentionLimit: { meaning: 'A retention rule would remove the checkpoint at once' },
  RouteNotFound: { meaning: 'There is no such route' },
  RuntimeAnswerTooLarge: { meaning: 'An answer of the runtime is too large' },
  RuntimeDeadline: { meaning: 'The runtime did not answer in time' },
  RuntimeNotInitialized: { status: 503, meaning: 'The runtime is still starting' },
  RuntimeUnavailable: { status: 503, meaning: 'The runtime does not answer on its socket' },
  ShuttingDown: { status: 503, meaning: 'The agent is being stopped' },
  StateUnavailable: { meaning: 'The state directory cannot be written' },
  SweepRunning: { meaning: 'Another sweep is in progress' },
  TaskStuck: { meaning: 'CRIU could not stop every process of the container' },
  TcpEstablished: { meaning: 'A process holds an established TCP connection, and CRIU was not told to dump it' },
  TerminalAttached: { meaning: 'The container holds a terminal from outside, as an exec or attach session does' },
  TooExpensive: { meaning: 'Looking into this archive costs more than one archive may' },
  TooManyDownloads: { status: 429, meaning: 'Too many downloads are in progress', retryAfterSeconds: 10 },
  TooManyInspections: { status: 429, meaning: 'Too many archives are being inspected', retryAfterSeconds: 5 },
  TooManyRecipients: { meaning: 'The request names too many recipients' },
  TooManyRequests: { status: 429, meaning: 'The caller has begun too many of these within a minute' },
  TooManyWatchers: { meaning: 'Too many watches are open', retryAfterSeconds: 30 },
  Unauthenticated: { meaning: 'The request has no valid credentials' },
  Unclassified: { meaning: 'The runtime failed in a way that the agent does not know; see `runtimeMessage`' },
  UnknownOutcome: { meaning: 'How the capture ended is not known' },
  UnsafeDirectory: { meaning: 'A directory is not one that the agent may use' },
  UnsupportedMediaType: { status: 415, meaning: 'The request body is not JSON in UTF-8' },
} as const satisfies Readonly<Record<string, ErrorCodeFacts>>

export type ErrorCode = keyof typeof ERROR_CODES

/** Finds the facts about a code; undefined for the code of a problem of an archive. */
export function findErrorCode(code: string): ErrorCodeFacts | undefined {
  return Object.hasOwn(ERROR_CODES, code) ? ERROR_CODES[code as ErrorCode] : undefined
}
