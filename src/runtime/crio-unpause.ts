import process from 'node:process'
import { RuntimeFailureError, UnavailableError } from '../shared/errors.ts'
import { escapeLines } from '../shared/readable-text.ts'
import { keptRuntimeText } from './failure-causes.ts'

/**
 * `resumed`: the container was paused and is running again. `running`: CRI-O does not consider it
 * paused and did nothing. `thawed`: CRI-O considers it paused, but its cgroup is not frozen, and
 * only a frozen one can be unpaused. `unsupported`: the route or the container does not exist.
 */
export type UnpauseAnswer = 'resumed' | 'running' | 'thawed' | 'unsupported'

/** Importing the module would also load Node.js's fetch. */
const { request } = process.getBuiltinModule('node:http')

const MAX_ANSWER_BYTES = 64 * 1024

/**
 * Resumes a container through CRI-O's HTTP endpoint on the CRI socket (`server/inspect.go`),
 * because CRI has no such call. CRI-O thaws the processes and updates its state, so that exec and
 * checkpoint work again.
 */
export async function unpauseOverHttp(
  socketPath: string,
  containerId: string,
  { timeoutMs }: { readonly timeoutMs: number },
): Promise<UnpauseAnswer> {
  const { status, text } = await get(socketPath, `/unpause/${encodeURIComponent(containerId)}`, timeoutMs)
  if (status === 200) return 'resumed'
  if (status === 409) return 'running'
  if (status === 404 || status === 405) return 'unsupported'
  if (status === 500 && /not paused/i.test(text)) return 'thawed'
  throw new RuntimeFailureError(`Cannot unpause container "${containerId}": CRI-O answered ${status}`, {
    code: 'Unclassified',
    hint: "Read the runtime's own text in runtimeMessage and its log on the node.",
    runtimeMessage: escapeLines(keptRuntimeText(text.trim())),
  })
}

interface Answer {
  readonly status: number
  readonly text: string
}

function get(socketPath: string, path: string, timeoutMs: number): Promise<Answer> {
  const { promise, resolve, reject } = Promise.withResolvers<Answer>()
  const fail = (error: Error & { readonly code?: unknown }) => {
    // Runtimes other than CRI-O accept only HTTP/2, or another protocol.
    if (String(error.code).startsWith('HPE_')) resolve({ status: 404, text: '' })
    else reject(unreachable(error))
  }
  const signal = AbortSignal.timeout(timeoutMs)
  // Uses a connection of its own: CRI-O distinguishes HTTP/1 from gRPC by the first bytes.
  const call = request({ socketPath, path, agent: false, signal, headers: { host: 'localhost' } }, (response) => {
    let text = ''
    response.setEncoding('utf8')
    response.on('data', (chunk: string) => {
      text = `${text}${chunk}`.slice(0, MAX_ANSWER_BYTES)
    })
    response.once('error', fail)
    response.once('end', () => resolve({ status: response.statusCode ?? 0, text }))
  })
  call.once('error', fail)
  call.end()
  return promise
}

function unreachable(error: Error): UnavailableError {
  return new UnavailableError(`Cannot reach the container runtime: ${error.message}`, {
    code: 'RuntimeUnavailable',
    hint: 'See that the runtime runs on the node and that runtime.socket names its socket; the agent connects again by itself.',
    cause: error,
  })
}
