import { openNoFollow } from '../shared/open-no-follow.ts'
import { RuntimeFailureError } from '../shared/errors.ts'
import { readableText } from '../shared/readable-text.ts'
import { classifyFailure, keptRuntimeText } from './failure-causes.ts'

/** Bytes read from the end of the log, which contains the error of CRIU. */
const MAX_LOG_BYTES = 256 * 1024

/** gRPC status UNKNOWN, which runtimes report for a failed dump. */
const UNKNOWN = 2

export interface FailedDump {
  readonly containerId: string
  /** Start of the dump; an older log belongs to another dump. */
  readonly begunAt: Date
}

/**
 * Adds the errors of CRIU's log to a failed dump. containerd reports only the path of that log. If
 * the agent can read the file, the errors in it determine the cause; otherwise the failure stays
 * unchanged. CRI-O quotes the log by itself.
 */
export async function explainFailedDump(failure: unknown, { containerId, begunAt }: FailedDump): Promise<unknown> {
  if (!(failure instanceof RuntimeFailureError) || failure.code !== 'CriuCannotDump') return failure
  const path = findLogPath(failure.runtimeMessage ?? '', containerId)
  const errors = path === undefined ? [] : await readErrors(path, begunAt)
  if (errors.length === 0) return failure
  const log = errors.join('\n')
  const { code, cause, hint } = classifyFailure({ code: UNKNOWN, text: log })
  return new RuntimeFailureError(code === 'Unclassified' ? failure.message : cause, {
    code: code === 'Unclassified' ? failure.code : code,
    hint: code === 'Unclassified' ? (failure.hint ?? hint) : hint,
    runtimeMessage: keptRuntimeText(`${failure.runtimeMessage}\n${log}`),
    cause: failure.cause,
  })
}

/**
 * Accepts only the log of this container, because the text may quote input from outside the
 * runtime.
 */
function findLogPath(text: string, containerId: string): string | undefined {
  const path = /path= (\/\S+\/criu-dump\.log)$/.exec(text)?.[1]
  const folders = path?.split('/') ?? []
  return folders.at(-2) === containerId && !folders.includes('..') ? path : undefined
}

/** Reads the error lines of CRIU in order; empty if the file is not readable for any reason. */
async function readErrors(path: string, begunAt: Date): Promise<string[]> {
  try {
    await using file = await openNoFollow(path)
    const stat = await file.stat()
    if (!stat.isFile() || stat.mtime < begunAt) return []
    const { size } = stat
    const tail = Buffer.alloc(Math.min(size, MAX_LOG_BYTES))
    const { bytesRead } = await file.read(tail, 0, tail.length, size - tail.length)
    const lines = tail.subarray(0, bytesRead).toString('latin1').split('\n')
    const errors = lines.filter((line) => /^\(\d+\.\d+\) Error \(/.test(line))
    return errors.map((line) => readableText(Buffer.from(line, 'latin1')))
  } catch {
    return []
  }
}
