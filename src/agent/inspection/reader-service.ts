import type { Readable } from 'node:stream'
import { findSourceEnd } from '../../archive/tar-end.ts'
import type { ByteSource } from '../../streams/byte-source.ts'
import { LargeWindowError } from '../../archive/decompression.ts'
import { listMembers } from '../../archive/member-list.ts'
import { findMember, memberSource, readCompression } from '../../archive/member-reader.ts'
import { readRootfsDiff } from '../../archive/rootfs-diff.ts'
import { ProblemError } from '../../checkpoint/problem.ts'
import { errorText, isSystemError } from '../../shared/errors.ts'
import { type AgentChannel, openAgentChannel } from './agent-channel.ts'
import { type ArchiveSummary, summarizeArchive } from './archive-summary.ts'
import { openArchive, type OpenArchive } from './open-archive.ts'
import { nextTurn } from './paced-source.ts'
import { HeldOutcomes } from './held-outcomes.ts'
import { MAX_PAGE_BYTES, PIECE_BYTES } from './reader-limits.ts'
import type {
  CancelRequest,
  FileRequest,
  ReaderAnswer,
  ReaderRefusal,
  ReaderRequest,
  SentSummary,
} from './reader-messages.ts'

export interface ReaderServiceOptions {
  /** Real path of the checkpoint directory. */
  readonly directory: string
  /** Stream of messages from the agent. */
  readonly requests: Readable
  /** Ends the process immediately. */
  readonly endSelf: () => void
  /** Handles other kinds of requests. Tests use it to try what the process may do. */
  readonly onOther?: (request: object) => Promise<unknown>
}

/** Answers the agent's requests one at a time until the agent closes its end. */
export function serveAgent(options: ReaderServiceOptions): void {
  let current: AbortController | undefined
  const channel = openAgentChannel({
    requests: options.requests,
    onEnd: options.endSelf,
    onFrame: ({ content }) => {
      // The message comes from the agent, so its content needs no checks.
      const request: ReaderRequest | CancelRequest = JSON.parse(content.toString('utf8'))
      if (request.kind === 'cancel') {
        current?.abort()
      } else if (current === undefined) {
        current = new AbortController()
        void serve(request, current.signal)
      } else {
        options.endSelf()
      }
    },
  })
  const service = new ReaderService(options, channel)
  const serve = async (request: ReaderRequest, signal: AbortSignal): Promise<void> => {
    let answer: ReaderAnswer
    try {
      answer = await service.answer(request, signal)
    } catch (error) {
      answer = explain(error, signal)
    }
    current = undefined
    channel.sendJson(answer)
  }
  channel.sendJson({ kind: 'ready' } satisfies ReaderAnswer)
}

class ReaderService {
  readonly #options: ReaderServiceOptions
  readonly #channel: AgentChannel
  #member: { readonly archive: OpenArchive; readonly source: ByteSource } | undefined

  constructor(options: ReaderServiceOptions, channel: AgentChannel) {
    this.#options = options
    this.#channel = channel
  }

  async answer(request: ReaderRequest, signal: AbortSignal): Promise<ReaderAnswer> {
    switch (request.kind) {
      case 'summaries':
        return await this.#summarize(request, signal)
      case 'open-member':
        return await this.#openMember(request)
      case 'read-member':
        return await this.#readMember(request)
      case 'tar-end':
      case 'members':
      case 'find-member':
      case 'rootfs-diff':
        break
      default:
        return { kind: 'done', value: await this.#options.onOther?.(request) }
    }
    const archive = openArchive(this.#options.directory, request.file, request.mayOpenLargeWindow)
    if ('kind' in archive) return archive
    using opened = archive
    return { kind: 'done', value: await look(opened.source, request, signal) }
  }

  async #summarize(
    { files, mayOpenLargeWindow, isCareful }: Extract<ReaderRequest, { kind: 'summaries' }>,
    signal: AbortSignal,
  ): Promise<ReaderAnswer> {
    const held = new HeldOutcomes(this.#channel)
    for (const [index, file] of files.entries()) {
      if (isCareful) this.#channel.sendJson({ kind: 'begin', index } satisfies ReaderAnswer)
      held.add(await this.#summarizeOne(file, { mayOpenLargeWindow, signal }))
      if (isCareful || held.isDue) {
        held.send()
        await nextTurn()
      }
    }
    held.send()
    return { kind: 'done' }
  }

  async #summarizeOne(
    file: FileRequest,
    { mayOpenLargeWindow, signal }: { readonly mayOpenLargeWindow: boolean; readonly signal: AbortSignal },
  ): Promise<SentSummary | ReaderRefusal> {
    try {
      const archive = openArchive(this.#options.directory, file, mayOpenLargeWindow)
      if ('kind' in archive) return archive
      using opened = archive
      return { kind: 'summary', summary: withTimesAsTexts(await summarizeArchive(opened.source, signal)) }
    } catch (error) {
      return explain(error, signal)
    }
  }

  async #openMember({
    file,
    member,
    mayOpenLargeWindow,
  }: Extract<ReaderRequest, { kind: 'open-member' }>): Promise<ReaderAnswer> {
    const archive = openArchive(this.#options.directory, file, mayOpenLargeWindow)
    if ('kind' in archive) return archive
    this.#member = { archive, source: await memberSource(archive.source, member) }
    return { kind: 'done' }
  }

  async #readMember({ position, length }: Extract<ReaderRequest, { kind: 'read-member' }>): Promise<ReaderAnswer> {
    if (this.#member === undefined) throw new Error('no member is open')
    const piece = Buffer.allocUnsafe(Math.min(length, PIECE_BYTES))
    const bytesRead = await this.#member.source.read(piece, 0, piece.length, position)
    this.#channel.sendBytes(piece.subarray(0, bytesRead))
    return { kind: 'done' }
  }
}

type Look = Extract<ReaderRequest, { kind: 'tar-end' | 'members' | 'find-member' | 'rootfs-diff' }>

async function look(source: ByteSource, request: Look, signal: AbortSignal): Promise<unknown> {
  switch (request.kind) {
    case 'tar-end':
      return await findSourceEnd(source)
    case 'members':
      return await listMembers(source, pageOf(request, signal))
    case 'rootfs-diff':
      return await readRootfsDiff(source, pageOf(request, signal))
    case 'find-member':
      break
  }
  const compression = await readCompression(source)
  const member = await findMember(source, request.name, signal)
  return member === undefined ? undefined : { member, compression }
}

function pageOf({ skip, limit }: { readonly skip: number; readonly limit: number }, signal: AbortSignal) {
  return { skip, limit, maxBytes: MAX_PAGE_BYTES, signal }
}

function withTimesAsTexts({ createdAt, startedAt, takenAt, ...rest }: ArchiveSummary): SentSummary['summary'] {
  return {
    ...rest,
    ...(createdAt !== undefined && { createdAt: String(createdAt) }),
    ...(startedAt !== undefined && { startedAt: String(startedAt) }),
    ...(takenAt !== undefined && { takenAt: String(takenAt) }),
  }
}

function explain(error: unknown, signal: AbortSignal): ReaderRefusal {
  if (signal.aborted) return { kind: 'cancelled' }
  if (error instanceof LargeWindowError) return { kind: 'large-window' }
  if (error instanceof ProblemError) return { kind: 'problem', problem: error.problem }
  if (isSystemError(error, 'EIO', 'ESTALE', 'EISDIR', 'EOVERFLOW'))
    return { kind: 'unreadable', code: String(error.code) }
  return { kind: 'failed', error: errorText(error).slice(0, MAX_ERROR_CHARACTERS) }
}

const MAX_ERROR_CHARACTERS = 500
