import { realpathSync } from 'node:fs'
import type { ByteSource } from '../../streams/byte-source.ts'
import type { MemberList } from '../../archive/member-list.ts'
import type { RootfsDiff } from '../../archive/rootfs-diff.ts'
import type { TarEnd } from '../../archive/tar-end.ts'
import type { TarMember } from '../../archive/tar-member.ts'
import { errorText } from '../../shared/errors.ts'
import type { Logger } from '../../shared/logger.ts'
import type {
  ArchiveFile,
  ArchiveReader,
  CannotTell,
  FoundMember,
  PageOptions,
  ReaderLane as LaneName,
  SummaryOutcome,
} from './archive-reader.ts'
import { parseFoundMember, parseMemberList, parseRootfsDiff, parseTarEnd } from './member-parser.ts'
import { PackedMembers } from './packed-members.ts'
import { Permits } from './permits.ts'
import { readMemory } from './process-figures.ts'
import { Attempts } from './reader-attempts.ts'
import type { ReaderLoss } from './reader-child.ts'
import { ReaderLane } from './reader-lane.ts'
import { ReaderLeftovers } from './reader-leftovers.ts'
import { cpuBudgetMs, MAX_INTERRUPTIONS, MAX_STREAMS } from './reader-limits.ts'
import type { ReaderRequest } from './reader-messages.ts'
import { readerProgram } from './reader-program.ts'
import { askReader, type ReaderResult, toOrder } from './reader-request.ts'
import { ReaderWatch } from './reader-watch.ts'
import { refusalError } from './refusal-error.ts'
import { SummaryQueue } from './summary-queue.ts'
import { readerUnavailable, tooExpensive } from './too-expensive.ts'

export interface ReaderProcessesOptions {
  /** Path of the checkpoint directory. */
  readonly directory: string
  readonly stateDirectory: string
  readonly logger: Logger
  /** Called with the cause when a reader ended unexpectedly. */
  readonly onLost?: (end: ReaderLoss) => void
  /** Entry, limits and idle time that replace the defaults in tests. */
  readonly entry?: string
  readonly maxBytes?: number
  readonly restMs?: number
  readonly cpuBudgetMs?: (sizeBytes: number) => number
}

/** Priorities as `nice` values. The inventory yields to other work, and no reader delays the agent itself. */
const PRIORITIES = { index: 10, others: 5 }

/** Maximum number of inspections for callers that run at once. */
const CALLERS_SIZE = 2

type Look = Extract<ReaderRequest, { readonly mayOpenLargeWindow: boolean; readonly file: unknown }>
/** A request without its file and its permission for a large window. */
type LookRequest = Look extends infer Each
  ? Each extends Look
    ? Omit<Each, 'file' | 'mayOpenLargeWindow'>
    : never
  : never

interface LookOptions<T> {
  readonly parse: (value: unknown) => T
  readonly lane: ReaderLane
  readonly signal?: AbortSignal | undefined
}

/** Reads archives in processes that can do nothing else (decision 15). Starts, watches and ends these processes. */
export class ReaderProcesses implements ArchiveReader {
  readonly watch: ReaderWatch
  readonly #lanes: {
    readonly index: ReaderLane
    readonly callers: ReaderLane
    readonly seal: ReaderLane
    readonly streams: ReaderLane
  }
  /** Idle readers are ended to make room for a large window. */
  readonly #largeWindow = new Permits(1, () => {
    for (const lane of Object.values(this.#lanes)) lane.endIdle()
  })
  readonly #summaries: SummaryQueue
  readonly #packed: PackedMembers
  readonly #cpuBudgetMs: (sizeBytes: number) => number

  constructor(options: ReaderProcessesOptions) {
    const { stateDirectory, logger, entry, maxBytes, restMs } = options
    const leftovers = new ReaderLeftovers(stateDirectory, logger)
    leftovers.end()
    const program = readerProgram({
      directory: realpathSync(options.directory),
      ...(entry !== undefined && { entry }),
    })
    this.watch = new ReaderWatch(maxBytes === undefined ? {} : { maxBytes })
    const lane = (size: number, priority = PRIORITIES.others) =>
      new ReaderLane({
        program,
        watch: this.watch,
        leftovers,
        logger,
        onLost: options.onLost ?? (() => undefined),
        size,
        priority,
        ...(restMs !== undefined && { restMs }),
      })
    this.#lanes = {
      index: lane(1, PRIORITIES.index),
      callers: lane(CALLERS_SIZE),
      seal: lane(1),
      streams: lane(MAX_STREAMS),
    }
    this.#cpuBudgetMs = options.cpuBudgetMs ?? cpuBudgetMs
    this.#summaries = new SummaryQueue({
      lanes: this.#lanes,
      watch: this.watch,
      largeWindow: this.#largeWindow,
      cpuBudgetMs: this.#cpuBudgetMs,
    })
    this.#packed = new PackedMembers({
      lane: this.#lanes.streams,
      watch: this.watch,
      largeWindow: this.#largeWindow,
      cpuBudgetMs: this.#cpuBudgetMs,
    })
  }

  /** PIDs of all readers. */
  get pids(): readonly number[] {
    return Object.values(this.#lanes).flatMap(({ pids }) => pids)
  }

  /** Number and memory of all readers. Shared memory counts once. */
  get figures(): { readonly processes: number; readonly bytes: number } {
    const memories = this.pids.flatMap((pid) => readMemory(pid) ?? [])
    const shared = Math.max(0, ...memories.map(({ sharedBytes }) => sharedBytes))
    return { processes: memories.length, bytes: memories.reduce((sum, { ownBytes }) => sum + ownBytes, shared) }
  }

  async summarizeAll(
    files: readonly ArchiveFile[],
    onOutcome: (index: number, outcome: SummaryOutcome) => void,
  ): Promise<void> {
    await this.#summaries.summarizeAll(files, onOutcome)
  }

  async summarize(
    file: ArchiveFile,
    options: { readonly lane: LaneName; readonly signal?: AbortSignal },
  ): Promise<SummaryOutcome> {
    return await this.#summaries.summarize(file, options)
  }

  async findTarEnd(file: ArchiveFile): Promise<TarEnd | CannotTell> {
    // A capture must not wait for the inspections of callers.
    const lane = this.#lanes.callers.hasRoom ? this.#lanes.callers : this.#lanes.seal
    try {
      return await this.#look(file, { kind: 'tar-end' }, { parse: parseTarEnd, lane })
    } catch (error) {
      return { kind: 'cannot-tell', why: errorText(error) }
    }
  }

  async listMembers(file: ArchiveFile, { skip, limit, signal }: PageOptions): Promise<MemberList> {
    const lane = this.#lanes.callers
    return await this.#look(file, { kind: 'members', skip, limit }, { parse: parseMemberList, lane, signal })
  }

  async findMember(file: ArchiveFile, name: string, signal: AbortSignal): Promise<FoundMember | undefined> {
    const lane = this.#lanes.callers
    return await this.#look(file, { kind: 'find-member', name }, { parse: parseFoundMember, lane, signal })
  }

  async readRootfsDiff(file: ArchiveFile, { skip, limit, signal }: PageOptions): Promise<RootfsDiff> {
    const lane = this.#lanes.callers
    return await this.#look(file, { kind: 'rootfs-diff', skip, limit }, { parse: parseRootfsDiff, lane, signal })
  }

  async openPackedMember(file: ArchiveFile, member: TarMember, signal: AbortSignal): Promise<ByteSource> {
    return await this.#packed.open(file, member, signal)
  }

  warm(): void {
    this.#lanes.callers.warm()
  }

  async close(): Promise<void> {
    this.#summaries.close()
    await Promise.all(Object.values(this.#lanes).map((lane) => lane.close()))
  }

  async #look<T>(file: ArchiveFile, order: LookRequest, { parse, lane, signal }: LookOptions<T>): Promise<T> {
    const attempts = new Attempts({ maxInterruptions: MAX_INTERRUPTIONS })
    let release: (() => void) | undefined
    try {
      for (;;) {
        const request = { ...order, file: toOrder(file), mayOpenLargeWindow: release !== undefined }
        let result: ReaderResult<T>
        try {
          result = await lane.use(async (reader) => {
            this.watch.begin(reader, this.#cpuBudgetMs(file.sizeBytes))
            return await askReader(reader, request, { parse, signal })
          }, signal)
        } catch (error) {
          signal?.throwIfAborted()
          const next = await attempts.note(error)
          if (next.kind === 'too-expensive') throw tooExpensive(next.problem)
          if (next.kind === 'give-up') throw readerUnavailable()
          continue
        }
        if (result.kind === 'done') return result.value
        if (result.kind !== 'large-window' || release !== undefined) throw refusalError(result, signal)
        release = await this.#largeWindow.take(signal)
      }
    } finally {
      release?.()
    }
  }
}
