import { statSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { Client, credentials, loadPackageDefinition, Metadata, status, type ServiceError } from '@grpc/grpc-js'
import { loadSync } from '@grpc/proto-loader'
import { RuntimeFailureError, UnavailableError } from '../shared/errors.ts'
import { escapeLines } from '../shared/readable-text.ts'
import { unpauseOverHttp, type UnpauseAnswer } from './crio-unpause.ts'
import { classifyFailure, keptRuntimeText } from './failure-causes.ts'

/** All gRPC calls that this program can make. The only other call on the socket is `unpause`. */
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
  /** Undefined to send no deadline at all. */
  readonly deadlineMs: number | undefined
  readonly signal?: AbortSignal
  readonly metadata?: Readonly<Record<string, string>>
}

const MAX_MESSAGE_BYTES = 16 * 1024 * 1024

const CHANNEL_OPTIONS = {
  // Go servers reject an authority derived from a socket path.
  'grpc.default_authority': 'localhost',
  'grpc.max_receive_message_length': MAX_MESSAGE_BYTES,
  'grpc.max_send_message_length': MAX_MESSAGE_BYTES,
  'grpc.initial_reconnect_backoff_ms': 100,
  'grpc.max_reconnect_backoff_ms': 3000,
  // Every connection has its own channel: a pooled one would keep the socket of a runtime that has
  // ended.
  'grpc.use_local_subchannel_pool': 1,
}

interface Method {
  readonly path: string
  readonly requestSerialize: (value: object) => Buffer
  readonly responseDeserialize: (bytes: Buffer) => object
}

type GrpcFailure = Pick<ServiceError, 'code' | 'details'>

/** Reports a failed call; the cause of a `RuntimeFailureError` or an `UnavailableError`. */
export class GrpcCallError extends Error {
  readonly grpcCode: number
  /** The error in the format of Go's gRPC library, which the kubelet shows. */
  readonly goText: string

  constructor(call: string, error: GrpcFailure) {
    super(`${call}: ${error.details}`)
    this.name = 'GrpcCallError'
    this.grpcCode = error.code
    this.goText = `rpc error: code = ${goCodeName(error.code)} desc = ${keptRuntimeText(error.details)}`
  }
}

/** Formats a failed call as the kubelet would; undefined for any other error. */
export function goErrorText(error: unknown): string | undefined {
  const cause = error instanceof Error ? error.cause : undefined
  return cause instanceof GrpcCallError ? cause.goText : undefined
}

/**
 * Statuses that do not reveal the result of the call, because the runtime itself did not answer.
 */
const UNANSWERED: ReadonlySet<number> = new Set([status.CANCELLED, status.DEADLINE_EXCEEDED, status.UNAVAILABLE])

/**
 * Errors of our own side of the connection, which have various codes, when it closes during a call.
 */
const CONNECTION_ENDED = /^(?:[A-Za-z]+: )?(?:Received RST_STREAM with code|Session closed|Connection dropped)/

/** Checks whether the runtime itself reported the failure; its work for the call is then over. */
export function isAnswered(error: unknown): boolean {
  const cause = error instanceof Error ? error.cause : undefined
  return cause instanceof GrpcCallError && !UNANSWERED.has(cause.grpcCode) && !CONNECTION_ENDED.test(cause.message)
}

/**
 * A connection to the runtime's socket that survives restarts of the runtime. A restarted runtime
 * creates a new socket file at the same path. Every call checks the file and opens a new channel
 * for a new one; calls in flight on the old channel end by themselves.
 */
export class CriConnection {
  readonly #findSocket: () => string | undefined
  readonly #methods: ReadonlyMap<CallName, Method>
  #client: Client | undefined
  #socketFile: string | undefined
  #closed = false

  /**
   * Creates a connection. Every call locates the socket again, so that a runtime that starts later
   * is found.
   */
  constructor(findSocket: () => string | undefined) {
    this.#findSocket = findSocket
    this.#methods = loadMethods()
  }

  /**
   * Makes a call. Throws a RuntimeFailureError, or an UnavailableError if the runtime does not
   * answer.
   */
  async call(name: CallName, request: object, { deadlineMs, signal, metadata }: CallOptions): Promise<object> {
    const method = this.#methods.get(name)
    if (method === undefined) throw new Error(`no such call: ${name}`)
    // A checkpoint canceled immediately after sending could still be taken, because the runtime may
    // process it first.
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
  loadPackageDefinition(definition) // checks that the definition is complete
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
