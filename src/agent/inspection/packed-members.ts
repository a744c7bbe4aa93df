import type { ByteSource } from '../../streams/byte-source.ts'
import type { TarMember } from '../../archive/tar-member.ts'
import { AnswerError } from './answer-fields.ts'
import type { ArchiveFile } from './archive-reader.ts'
import type { Permits } from './permits.ts'
import { Attempts } from './reader-attempts.ts'
import type { ReaderChild } from './reader-child.ts'
import type { ReaderLane } from './reader-lane.ts'
import { MAX_INTERRUPTIONS, PIECE_BYTES } from './reader-limits.ts'
import { askReader, toOrder } from './reader-request.ts'
import type { ReaderWatch } from './reader-watch.ts'
import { refusalError } from './refusal-error.ts'
import { readerUnavailable, tooExpensive } from './too-expensive.ts'

export interface PackedMembersOptions {
  /** Lane whose size limits the number of members that are open at once. */
  readonly lane: ReaderLane
  readonly watch: ReaderWatch
  readonly largeWindow: Permits
  readonly cpuBudgetMs: (sizeBytes: number) => number
}

/**
 * Decompresses members of compressed archives while they are sent. Each member has its own process until it is closed,
 * so a slow caller delays only other callers of this kind. A piece is decompressed on demand.
 */
export class PackedMembers {
  readonly #options: PackedMembersOptions

  constructor(options: PackedMembersOptions) {
    this.#options = options
  }

  /** Opens a member once there is room. Throws the errors of an inspection and the signal's reason. */
  async open(file: ArchiveFile, member: TarMember, signal: AbortSignal): Promise<ByteSource> {
    const stream = new PackedMember({ ...this.#options, file, member, signal })
    await stream.open()
    return {
      sizeBytes: member.sizeBytes,
      read: (into, at, length, position) => stream.read(into, { at, length, position }),
      close: () => stream.close(),
    }
  }
}

interface PackedMemberOptions extends PackedMembersOptions {
  readonly file: ArchiveFile
  readonly member: TarMember
  readonly signal: AbortSignal
}

interface Place {
  readonly at: number
  readonly length: number
  readonly position: number
}

class PackedMember {
  readonly #options: PackedMemberOptions
  readonly #attempts = new Attempts({ maxInterruptions: MAX_INTERRUPTIONS })
  #reader: { readonly child: ReaderChild; readonly release: () => void } | undefined
  #releaseWindow: (() => void) | undefined
  #isClosed = false

  constructor(options: PackedMemberOptions) {
    this.#options = options
    options.signal.addEventListener('abort', () => this.close(), { once: true })
  }

  async open(): Promise<void> {
    await this.#try(async () => undefined)
  }

  async read(into: Buffer, { at, length, position }: Place): Promise<number> {
    return await this.#try(async (reader) => {
      let filled = 0
      const wanted = Math.min(length, PIECE_BYTES)
      const onBytes = (bytes: Buffer) => {
        if (filled + bytes.length > wanted) throw new AnswerError('piece')
        filled += bytes.copy(into, at + filled)
      }
      const request = { kind: 'read-member', position, length: wanted }
      const result = await askReader(reader, request, { parse: () => undefined, onBytes })
      if (result.kind === 'large-window') return 'large-window'
      if (result.kind !== 'done') throw refusalError(result, this.#options.signal)
      return filled
    })
  }

  close(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#release()
    this.#releaseWindow?.()
  }

  /** Runs the work and starts again if the reader was ended. A new reader decompresses up to the same position. */
  async #try<T>(work: (reader: ReaderChild) => Promise<T | 'large-window'>): Promise<T> {
    const { signal, largeWindow } = this.#options
    for (;;) {
      signal.throwIfAborted()
      try {
        this.#reader ??= await this.#begin()
        const result = await work(this.#reader.child)
        if (result !== 'large-window') return result
      } catch (error) {
        signal.throwIfAborted()
        this.#release()
        const next = await this.#attempts.note(error)
        if (next.kind === 'too-expensive') throw tooExpensive(next.problem)
        if (next.kind === 'give-up') throw readerUnavailable()
        continue
      }
      if (this.#releaseWindow !== undefined) throw new Error('the permit for a large window was refused')
      this.#release()
      const release = await largeWindow.take(signal)
      if (this.#isClosed) release()
      else this.#releaseWindow = release
    }
  }

  async #begin() {
    const { lane, watch, file, member, signal, cpuBudgetMs } = this.#options
    const closed = Promise.withResolvers<void>()
    const opened = Promise.withResolvers<ReaderChild>()
    const using = lane.use(async (child) => {
      watch.begin(child, cpuBudgetMs(file.sizeBytes))
      const mayOpenLargeWindow = this.#releaseWindow !== undefined
      const request = { kind: 'open-member', file: toOrder(file), member, mayOpenLargeWindow }
      const result = await askReader(child, request, { parse: () => undefined })
      if (result.kind !== 'done') throw refusalError(result, signal)
      opened.resolve(child)
      await closed.promise
      // Ends the process and discards decompressed bytes that were not requested.
      child.end('closed')
    }, signal)
    using.catch(opened.reject)
    const child = await opened.promise
    if (!this.#isClosed) return { child, release: closed.resolve }
    closed.resolve()
    signal.throwIfAborted()
    throw new Error('the member is closed')
  }

  #release(): void {
    this.#reader?.release()
    this.#reader = undefined
  }
}
