import { status } from '@grpc/grpc-js'
import { cutFromMiddle } from '../shared/cut-text.ts'

/** A failed call's gRPC status and text. */
export interface RuntimeAnswer {
  readonly code: number
  readonly text: string
}

export interface FailureCause {
  readonly code: FailureCode
  /** The cause in one sentence. */
  readonly cause: string
  /** The next step for the caller. */
  readonly hint: string
}

export type FailureCode =
  | 'CaptureCancelled'
  | 'CheckpointNameTaken'
  | 'CheckpointNotImplemented'
  | 'ContainerIdAmbiguous'
  | 'ContainerNotFound'
  | 'ContainerNotRunning'
  | 'ContainerPaused'
  | 'CriPluginDisabled'
  | 'CriuCannotDump'
  | 'CriuDisabled'
  | 'CriuMissing'
  | 'CriuTooOld'
  | 'DeviceBusy'
  | 'DirectoryMissing'
  | 'DiskFull'
  | 'ExternalUnixSocket'
  | 'FileLocks'
  | 'LocationNotWritable'
  | 'RuntimeAnswerTooLarge'
  | 'RuntimeDeadline'
  | 'RuntimeNotInitialized'
  | 'RuntimeUnavailable'
  | 'TaskStuck'
  | 'TcpEstablished'
  | 'TerminalAttached'
  | 'Unclassified'

interface Row extends FailureCause {
  /** gRPC codes that the row applies to; absent for all. */
  readonly grpc?: readonly number[]
  /** Text that the row applies to; absent for any. */
  readonly text?: RegExp
}

/** Explains who may have paused a container, and how to resume it. */
export const PAUSED_HINT =
  'Somebody may have paused it by hand (containerd: ctr tasks pause, CRI-O: /pause), another tool may be taking a checkpoint of it, or a checkpoint of the kubelet went past its deadline. Wait for it to end, or resume the container on the node (containerd: ctr -n k8s.io tasks resume ID; CRI-O: curl --unix-socket /run/crio/crio.sock http://localhost/unpause/ID), and ask again.'

/** Bytes kept of a runtime's text; CRI-O quotes whole log files. */
const MAX_TEXT_BYTES = 8 * 1024

/**
 * Causes in decreasing order of specificity; the first match counts. Nearly all real failures have
 * the status `Unknown`, so the text decides. Every pattern is the stable part of a text observed in
 * the runtimes (`test/runtime/failure-causes`).
 */
const ROWS: readonly Row[] = [
  {
    code: 'RuntimeNotInitialized',
    text: /server is not initialized yet/,
    cause: 'the container runtime is still starting',
    hint: 'Try again in a few seconds.',
  },
  {
    code: 'CriPluginDisabled',
    grpc: [status.UNIMPLEMENTED],
    text: /unknown service runtime\.v1\.RuntimeService/,
    cause: 'the runtime does not serve CRI v1 on this socket',
    hint: 'Remove "cri" from disabled_plugins in the runtime\'s configuration, or point runtime.socket at a CRI v1 runtime.',
  },
  {
    code: 'CheckpointNotImplemented',
    text: /(unknown method|method) CheckpointContainer\b|checkpointing not implemented for runtime|configured runtime does not support checkpoint\/restore/,
    cause: 'this runtime cannot take checkpoints',
    hint: 'Use containerd 2.0 or later, or CRI-O 1.25 or later, with runc or crun and CRIU.',
  },
  {
    code: 'CheckpointNotImplemented',
    grpc: [status.UNIMPLEMENTED],
    cause: 'this runtime cannot take checkpoints',
    hint: 'Use containerd 2.0 or later, or CRI-O 1.25 or later, with runc or crun and CRIU.',
  },
  {
    code: 'CriuDisabled',
    text: /criu support is disabled by configuration|checkpoint\/restore support not available|\bcontainer_level_enabled\b/,
    cause: 'checkpointing is switched off in the runtime, or CRIU was missing when it started',
    hint: 'Set enable_criu = true (containerd), enable_criu_support = true (CRI-O) or, from CRI-O 1.37 on, container_level_enabled = "checkpoint_only" under [crio.checkpoint_restore]; see that criu is on the runtime\'s PATH, and restart the runtime.',
  },
  {
    code: 'CriuMissing',
    text: /could not load `?libcriu|\blibcriu\.so[.\d]*: cannot open shared object/,
    cause: 'crun takes checkpoints with the library libcriu, which the node does not have',
    hint: 'Install libcriu on the node (Debian and Ubuntu: libcriu2; Fedora and RHEL: criu-libs) and take the checkpoint again; nothing needs a restart.',
  },
  {
    code: 'CriuMissing',
    text: /criu"?: executable file not found|criu binary not found in shim path/i,
    cause: "CRIU is not installed on the node, or not on the runtime's PATH",
    hint: 'Install criu (3.16 or later) on the node and restart the container runtime.',
  },
  {
    code: 'CriuTooOld',
    text: /requires at least CRIU \d+|CRIU version is too old|checkpoint\/restore requires .{0,100}CRIU/i,
    cause: 'the CRIU of this node is too old',
    hint: 'Install criu 3.16 or later on the node and restart the container runtime.',
  },
  {
    code: 'CriuMissing',
    text: /CRIU binary not found or too old|check for CRIU/,
    cause: 'CRIU is missing on the node, or older than 3.16',
    hint: 'Install criu (3.16 or later) on the node and restart the container runtime.',
  },
  {
    code: 'DiskFull',
    text: /no space left on device|disk quota exceeded|\bENOSPC\b|\bEDQUOT\b/i,
    cause: 'a disk of the node was full before the archive was whole',
    hint: "Free space in the checkpoint directory and under the runtime's own root: a dump needs two to four times its size while it runs.",
  },
  {
    code: 'TcpEstablished',
    text: /--tcp-established|Connected TCP socket/,
    cause: 'a process of the container holds an established TCP connection, and CRIU was not told to dump those',
    hint: 'Put a line "tcp-established" into /etc/criu/runc.conf (crun: /etc/criu/crun.conf) on the node and take the checkpoint again.',
  },
  {
    code: 'FileLocks',
    text: /--file-locks|file locks are hold by dumping tasks/,
    cause: 'a process of the container holds file locks, and CRIU was not told to dump those',
    hint: 'Put a line "file-locks" into /etc/criu/runc.conf (crun: /etc/criu/crun.conf) on the node and take the checkpoint again.',
  },
  {
    code: 'ExternalUnixSocket',
    text: /--ext-unix-sk|External socket is used/,
    cause: 'a process of the container is connected to a unix socket outside of it',
    hint: 'Put a line "ext-unix-sk" into /etc/criu/runc.conf (crun: /etc/criu/crun.conf) on the node, or close that connection first.',
  },
  {
    code: 'TerminalAttached',
    text: /tty: Found (slave peer|dangling tty|sid)|--shell-job/,
    cause: 'the container holds a terminal that begins outside of it, as an open exec or attach session does',
    hint: 'End interactive exec and attach sessions in the container and take the checkpoint again.',
  },
  {
    code: 'TaskStuck',
    text: /Unable to freeze tasks|Can't seize|Couldn't seize|Unseizable|task .{0,100} is in unexpected state|freezing timed? ?out/i,
    cause: 'CRIU could not stop every process of the container',
    hint: 'A process in uninterruptible sleep cannot be dumped. One that was just starting a program is past that now: try again. Otherwise see what it waits for.',
  },
  {
    code: 'DeviceBusy',
    text: /device or resource busy/i,
    cause: 'a mount or cgroup that the dump needs is still in use',
    hint: 'Try again in a minute; if it stays, a leftover of an earlier dump is mounted on the node: update the runtime, or restart the container.',
  },
  {
    code: 'ContainerPaused',
    text: /failed to pause container|cannot pause a (container in the|paused)|cannot checkpoint a paused/i,
    cause: 'the container is already paused, or another checkpoint of it is under way',
    hint: PAUSED_HINT,
  },
  {
    code: 'ContainerNotRunning',
    text: /only CONTAINER_RUNNING containers can be checkpointed|^(failed to checkpoint container [^:]*: )?container \S+ is not running|cannot checkpoint a (stopped|created|deleted)/,
    cause: 'the container is not running',
    hint: 'Only a running container can be checkpointed; see its state with GET /v1/containers.',
  },
  {
    code: 'ContainerIdAmbiguous',
    text: /multiple IDs found with provided prefix|ambiguous/i,
    cause: 'the runtime knows several containers whose ids begin like this',
    hint: 'Name the container by its full id.',
  },
  {
    code: 'CheckpointNameTaken',
    grpc: [status.ALREADY_EXISTS],
    cause: 'another checkpoint of this container was taken within the same second, not through this agent',
    hint: 'Try again in a second.',
  },
  {
    code: 'ContainerNotFound',
    grpc: [status.NOT_FOUND],
    cause: 'the runtime knows no such container',
    hint: 'It may just have ended; see what runs with GET /v1/containers.',
  },
  {
    code: 'ContainerNotFound',
    text: /could not find container|trying to find container|when try to find container/,
    cause: 'the runtime knows no such container',
    hint: 'It may just have ended; see what runs with GET /v1/containers.',
  },
  {
    code: 'CriuCannotDump',
    text: /criu failed|CRIU (dump|checkpoint|checkpointing) failed|\bdump\.log|Dumping FAILED/i,
    cause: 'CRIU could not dump the container',
    hint: 'The log of the dump is on the node, and the agent\'s own log says where; its last "Error" lines say what CRIU met.',
  },
  {
    code: 'DirectoryMissing',
    text: /\b(open|creat\w*|export file)\b.{0,300}no such file or directory/,
    cause: 'a folder that the runtime writes to does not exist where the runtime runs',
    hint: 'The checkpoint directory must be the same path for the agent and for the runtime on the node: check checkpoints.directory.',
  },
  {
    code: 'LocationNotWritable',
    text: /\b(open|creat\w*|export file)\b.{0,300}(permission denied|read-only file system|operation not permitted)/,
    cause: 'the runtime may not write into the checkpoint directory',
    hint: 'Check that the file system of checkpoints.directory is writable and that no security module confines the runtime.',
  },
  {
    code: 'RuntimeDeadline',
    grpc: [status.DEADLINE_EXCEEDED],
    cause: 'the runtime did not answer in time',
    hint: 'See how busy the runtime is; the agent tries again by itself.',
  },
  {
    code: 'CaptureCancelled',
    grpc: [status.CANCELLED],
    cause: 'the call was cancelled',
    hint: 'Ask again if the checkpoint is still wanted.',
  },
  {
    code: 'RuntimeAnswerTooLarge',
    grpc: [status.RESOURCE_EXHAUSTED],
    cause: "the runtime's answer is larger than 16 MiB",
    hint: 'The node holds too many ended containers for one list: let the kubelet remove some.',
  },
  {
    code: 'RuntimeUnavailable',
    text: /^Received RST_STREAM with code/,
    cause: 'the connection to the container runtime ended in the middle of the call',
    hint: 'See that the runtime runs on the node; the agent connects again by itself.',
  },
  {
    code: 'RuntimeUnavailable',
    grpc: [status.UNAVAILABLE],
    cause: 'the container runtime does not answer on its socket',
    hint: 'See that the runtime runs on the node and that runtime.socket names its socket; the agent connects again by itself.',
  },
]

const UNCLASSIFIED: FailureCause = {
  code: 'Unclassified',
  cause: 'the runtime failed in a way that this agent does not know',
  hint: "Read the runtime's own text in runtimeMessage and its log on the node.",
}

/** Determines the cause of a runtime's failure. */
export function classifyFailure(answer: RuntimeAnswer): FailureCause {
  const words = ownWords(answer.text)
  const row = ROWS.find(
    ({ grpc, text }) => (grpc === undefined || grpc.includes(answer.code)) && (text === undefined || text.test(words)),
  )
  return row === undefined ? UNCLASSIFIED : { code: row.code, cause: row.cause, hint: row.hint }
}

/**
 * Text that does not come from the runtime and may resemble any cause: names, command lines (CRI-O
 * shows its own, which contains `--file-locks`) and paths. The lengths are bounded to limit the
 * matching time.
 */
const FOREIGN_WORDS: readonly RegExp[] = [
  /\["(?:[^"\\]|\\.)*"(?: "(?:[^"\\]|\\.)*")*\]/g,
  /`(?:\/|runc |crun )[^`\n]*`/g,
  /(?<=\b(?:container|image|sandbox|pod) )"[^"\n]*"/g,
  // Go's path errors: the path ends where the reason begins, whatever characters it contains.
  /(?<=\b(?:open|write|read|stat|lstat|mkdir|rename|link|unlink|chmod|connect) )\/.{0,4096}?(?=: )/g,
  /(?<=^|[\s=(])\/[^\s"'`:,;)]+/gm,
]

/** Removes text that does not come from the runtime, but keeps the mention of a dump log. */
function ownWords(text: string): string {
  return FOREIGN_WORDS.reduce(
    (words, foreign) => words.replace(foreign, (match) => (match.endsWith('dump.log') ? 'dump.log' : '')),
    text,
  )
}

/** Shortens the runtime's text to the form that is stored and shown. */
export function keptRuntimeText(text: string): string {
  return cutFromMiddle(text, MAX_TEXT_BYTES)
}
