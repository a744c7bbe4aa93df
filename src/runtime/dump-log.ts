import { openNoFollow } from '../shared/open-no-follow.ts'
import { RuntimeFailureError } from '../shared/errors.ts'
import { readableText } from '../shared/readable-text.ts'
import { classifyFailure, keptRuntimeText } from './failure-causes.ts'

/** The end of the log is read: what CRIU failed at stands there. */
const MAX_LOG_BYTES = 256 * 1024

/** gRPC's UNKNOWN, with which a failed dump is answered. */
const UNKNOWN = 2

export interface FailedDump {
  readonly containerId: string
  /** A log that is older is of another dump. */
  readonly begunAt: Date
}

/**
 * containerd says of a failed dump no more than where CRIU's log is. Where the agent can see that file, the errors in
 * it name the cause; where it cannot, the failure stays as it is. CRI-O quotes the log by itself.
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

/** Only the container's own log: the text may quote more than the runtime's own words. */
function findLogPath(text: string, containerId: string): string | undefined {
  const path = /path= (\/\S+\/criu-dump\.log)$/.exec(text)?.[1]
  const folders = path?.split('/') ?? []
  return folders.at(-2) === containerId && !folders.includes('..') ? path : undefined
}

/** CRIU's lines of errors, in order; none where the file cannot be read, for whatever reason. */
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
