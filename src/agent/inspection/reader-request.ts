import { AnswerError, toFields, toOneOf, toProblem, toText } from './answer-fields.ts'
import type { Frame } from './frame-codec.ts'
import type { ReaderChild } from './reader-child.ts'
import type { ArchiveFile } from './archive-reader.ts'
import type { FileRequest, ReaderRefusal, ReaderRequest } from './reader-messages.ts'

export type ReaderResult<T> = { readonly kind: 'done'; readonly value: T } | ReaderRefusal

export interface RequestOptions<T> {
  readonly parse: (value: unknown) => T
  /** Called for frames of bytes. If it is absent, such frames are invalid. */
  readonly onBytes?: (bytes: Buffer) => void
  readonly signal?: AbortSignal | undefined
}

/** Sends one request and returns its answer. Throws ReaderEndedError. */
export async function askReader<T>(
  reader: ReaderChild,
  request: ReaderRequest | object,
  { parse, onBytes, signal }: RequestOptions<T>,
): Promise<ReaderResult<T>> {
  let result: ReaderResult<T> | undefined
  const onFrame = (frame: Frame) => {
    if (frame.kind === 'bytes') {
      if (onBytes === undefined) throw new AnswerError('kind')
      onBytes(frame.content)
      return 'more'
    }
    const answer = toFields(parseJson(frame), 'answer')
    result = answer['kind'] === 'done' ? { kind: 'done', value: parse(answer['value']) } : parseRefusal(answer)
    return 'done'
  }
  await reader.ask(request, { onFrame }, signal)
  if (result === undefined) throw new Error('an answer without an end')
  return result
}

export function parseJson({ kind, content }: Frame): unknown {
  if (kind !== 'json') throw new AnswerError('kind')
  return JSON.parse(content.toString('utf8'))
}

const REFUSALS = ['changed', 'unreadable', 'large-window', 'cancelled', 'problem'] as const

/**
 * Parses a refusal. Throws for everything else, including a bug in the reader. The process is then started anew, and
 * the archive is tried again.
 */
export function parseRefusal(answer: Readonly<Record<string, unknown>>): ReaderRefusal {
  const kind = toOneOf(answer['kind'], 'kind', REFUSALS)
  if (kind === 'unreadable') return { kind, code: toText(answer['code'], 'code', 64) }
  return kind === 'problem' ? { kind, problem: toProblem(answer['problem']) } : { kind }
}

export function toOrder({ path, generation, sizeBytes, mayGrow }: ArchiveFile): FileRequest {
  return { path: path.toString('base64'), generation, sizeBytes, ...(mayGrow === true && { mayGrow }) }
}
