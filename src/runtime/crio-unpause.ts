import process from 'node:process'
import { RuntimeFailureError, UnavailableError } from '../shared/errors.ts'
import { escapeLines } from '../shared/readable-text.ts'
import { keptRuntimeText } from './failure-causes.ts'

/**
 * `resumed`: it was paused and runs. `running`: CRI-O does not think it paused, and has done nothing. `thawed`: CRI-O
 * thinks it paused, but its cgroup is not frozen; only a frozen one can be unpaused. `unsupported`: there is no such
 * route, or no such container.
 */
export type UnpauseAnswer = 'resumed' | 'running' | 'thawed' | 'unsupported'

/** An import of the module would load Node's own fetch as well. */
const { request } = process.getBuiltinModule('node:http')

const MAX_ANSWER_BYTES = 64 * 1024

/**
 * CRI has no call that resumes a container. CRI-O takes plain HTTP on its CRI socket for that (`server/inspect.go`):
 * the processes are thawed, and CRI-O knows of it, so that exec and checkpoint work again.
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
    // Another runtime than CRI-O speaks HTTP/2 only, or something else altogether.
    if (String(error.code).startsWith('HPE_')) resolve({ status: 404, text: '' })
    else reject(unreachable(error))
  }
  const signal = AbortSignal.timeout(timeoutMs)
  // A connection of its own: CRI-O tells HTTP/1 from gRPC by the first bytes of each.
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
