import { statSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { Client, credentials, loadPackageDefinition, Metadata, status, type ServiceError } from '@grpc/grpc-js'
import { loadSync } from '@grpc/proto-loader'
import { RuntimeFailureError, UnavailableError } from '../shared/errors.ts'
import { escapeLines } from '../shared/readable-text.ts'
import { unpauseOverHttp, type UnpauseAnswer } from './crio-unpause.ts'
import { classifyFailure, keptRuntimeText } from './failure-causes.ts'

/** Every gRPC call that this program can make. Beside them there is only `unpause`, and no other way to the socket. */
export type CallName =
  | 'Version'
  | 'Status'
  | 'ListPodSandbox'
  | 'ListContainers'
  | 'ContainerStatus'
  | 'ListContainerStats'
  | 'CheckpointContainer'
  | 'Get'
  | 'Resume'

export interface CallOptions {
  /** Undefined: no deadline on the wire at all. */
  readonly deadlineMs: number | undefined
  readonly signal?: AbortSignal
  readonly metadata?: Readonly<Record<string, string>>
}

const MAX_MESSAGE_BYTES = 16 * 1024 * 1024

const CHANNEL_OPTIONS = {
  // Go's servers refuse an authority made of a socket's path.
  'grpc.default_authority': 'localhost',
  'grpc.max_receive_message_length': MAX_MESSAGE_BYTES,
  'grpc.max_send_message_length': MAX_MESSAGE_BYTES,
  'grpc.initial_reconnect_backoff_ms': 100,
  'grpc.max_reconnect_backoff_ms': 3000,
  // Each connection its own channel: a pooled one would still hold the socket of a runtime that is gone.
  'grpc.use_local_subchannel_pool': 1,
}

interface Method {
  readonly path: string
  readonly requestSerialize: (value: object) => Buffer
  readonly responseDeserialize: (bytes: Buffer) => object
}

type GrpcFailure = Pick<ServiceError, 'code' | 'details'>

/** A call failed; `RuntimeFailureError` and `UnavailableError` carry this as their cause. */
export class GrpcCallError extends Error {
  readonly grpcCode: number
  /** In the words of Go's gRPC, which is how the kubelet shows it. */
  readonly goText: string

  constructor(call: string, error: GrpcFailure) {
    super(`${call}: ${error.details}`)
    this.name = 'GrpcCallError'
    this.grpcCode = error.code
    this.goText = `rpc error: code = ${goCodeName(error.code)} desc = ${keptRuntimeText(error.details)}`
  }
}

/** What the kubelet would say of a failed call to the runtime; undefined for any other error. */
export function goErrorText(error: unknown): string | undefined {
  const cause = error instanceof Error ? error.cause : undefined
  return cause instanceof GrpcCallError ? cause.goText : undefined
}

/** Statuses that say nothing of how the call ends: nobody answered, or not for the runtime. */
const UNANSWERED: ReadonlySet<number> = new Set([status.CANCELLED, status.DEADLINE_EXCEEDED, status.UNAVAILABLE])

/** What our own side of the connection says, with all sorts of codes, when that ends in the middle of a call. */
const CONNECTION_ENDED = /^(?:[A-Za-z]+: )?(?:Received RST_STREAM with code|Session closed|Connection dropped)/

/** Whether the runtime itself has answered that the call failed: then what it did for the call is over. */
export function isAnswered(error: unknown): boolean {
  const cause = error instanceof Error ? error.cause : undefined
  return cause instanceof GrpcCallError && !UNANSWERED.has(cause.grpcCode) && !CONNECTION_ENDED.test(cause.message)
}

/**
 * A connection to the runtime's socket that outlives the runtime: a restarted one makes a new socket file at the same
 * path, so the file is looked at before each call and a new one gets a new channel. Calls in flight on the old one end
 * by themselves.
 */
export class CriConnection {
  readonly #findSocket: () => string | undefined
  readonly #methods: ReadonlyMap<CallName, Method>
  #client: Client | undefined
  #socketFile: string | undefined
  #closed = false

  /** The socket is asked for before each call: a runtime that starts later is found then. */
  constructor(findSocket: () => string | undefined) {
    this.#findSocket = findSocket
    this.#methods = loadMethods()
  }

  /** Throws a RuntimeFailureError, or an UnavailableError where nobody answers. */
  async call(name: CallName, request: object, { deadlineMs, signal, metadata }: CallOptions): Promise<object> {
    const method = this.#methods.get(name)
    if (method === undefined) throw new Error(`no such call: ${name}`)
    // Cancelled at once after it was sent, a checkpoint would still be taken: the runtime may see it before the cancel.
    if (signal?.aborted === true)
      throw toAgentError(name, { code: status.CANCELLED, details: 'cancelled before it began' })
    const client = this.#connect()
    const { promise, resolve, reject } = Promise.withResolvers<object>()
    const call = client.makeUnaryRequest(
      method.path,
      method.requestSerialize,
      method.responseDeserialize,
      request,
      toMetadata(metadata),
      deadlineMs === undefined ? {} : { deadline: Date.now() + deadlineMs },
      (error, response) => {
        if (error === null) resolve(response ?? {})
        else reject(toAgentError(name, error))
      },
    )
    const cancel = () => {
      call.cancel()
    }
    signal?.addEventListener('abort', cancel, { once: true })
    try {
      return await promise
    } finally {
      signal?.removeEventListener('abort', cancel)
    }
  }

  /** Resumes a container of CRI-O, over HTTP on the same socket. */
  async unpause(containerId: string, timeoutMs: number): Promise<UnpauseAnswer> {
    return await unpauseOverHttp(this.#socketPath(), containerId, { timeoutMs })
  }

  close(): void {
    this.#closed = true
    this.#client?.close()
    this.#client = undefined
  }

  #socketPath(): string {
    if (this.#closed) throw unavailable('the agent is closing its connection to the container runtime')
    const path = this.#findSocket()
    if (path === undefined) throw unavailable('there is no CRI socket in any of the usual places')
    return path
  }

  #connect(): Client {
    const path = this.#socketPath()
    const file = identifyFile(path)
    if (this.#client === undefined || file !== this.#socketFile) {
      this.#client?.close()
      this.#client = new Client(`unix:${path}`, credentials.createInsecure(), CHANNEL_OPTIONS)
      this.#socketFile = file
    }
    return this.#client
  }
}

function identifyFile(path: string): string {
  const stat = statSync(path, { bigint: true, throwIfNoEntry: false })
  if (stat === undefined) throw unavailable(`there is no socket at ${path}`)
  return `${path}:${stat.dev}:${stat.ino}:${stat.ctimeNs}`
}

const PROTO_FILES = ['cri/runtime.proto', 'containerd/tasks.proto'].map((file) =>
  fileURLToPath(new URL(`../../proto/${file}`, import.meta.url)),
)

const SERVICES = ['runtime.v1.RuntimeService', 'containerd.services.tasks.v1.Tasks']

function loadMethods(): ReadonlyMap<CallName, Method> {
  const definition = loadSync(PROTO_FILES, { longs: BigInt, enums: Number, defaults: true, keepCase: true })
  loadPackageDefinition(definition) // checks that the definition is whole
  const methods = new Map<CallName, Method>()
  for (const service of SERVICES) {
    for (const [name, method] of Object.entries(definition[service] ?? {})) {
      methods.set(name as CallName, method as Method)
    }
  }
  return methods
}

function toMetadata(fields: Readonly<Record<string, string>> | undefined): Metadata {
  const metadata = new Metadata()
  for (const [key, value] of Object.entries(fields ?? {})) metadata.set(key, value)
  return metadata
}

function toAgentError(call: string, error: GrpcFailure): RuntimeFailureError | UnavailableError {
  const text = keptRuntimeText(error.details)
  const { code, cause, hint } = classifyFailure({ code: error.code, text: error.details })
  const details = {
    code,
    hint,
    runtimeMessage: escapeLines(text),
    cause: new GrpcCallError(call, error),
  }
  const isUnavailable = code === 'RuntimeUnavailable' || code === 'RuntimeNotInitialized'
  return isUnavailable ? new UnavailableError(cause, details) : new RuntimeFailureError(cause, details)
}

function goCodeName(code: number): string {
  const name = status[code] ?? `Code(${code})`
  if (name === 'OK') return name
  if (name === 'CANCELLED') return 'Canceled'
  return name
    .toLowerCase()
    .split('_')
    .map((word) => word.charAt(0).toUpperCase() + word.slice(1))
    .join('')
}

function unavailable(detail: string): UnavailableError {
  return new UnavailableError(`Cannot reach the container runtime: ${detail}`, {
    code: 'RuntimeUnavailable',
    hint: 'See that the runtime runs on the node and that runtime.socket names its socket; the agent connects again by itself.',
  })
}
