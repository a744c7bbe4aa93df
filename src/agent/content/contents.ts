import { sliceOf, type ByteSource } from '../../streams/byte-source.ts'
import type { RootfsDiff } from '../../archive/rootfs-diff.ts'
import type { Checkpoint } from '../../checkpoint/checkpoint.ts'
import { ProblemError } from '../../checkpoint/problem.ts'
import type { AgeRecipient } from '../../encryption/age-recipient.ts'
import {
  AgentError,
  CallerLeftError,
  ConflictError,
  errorText,
  NotFoundError,
  UnavailableError,
} from '../../shared/errors.ts'
import type {
  ContentRequest,
  ContentServices,
  EncryptableRequest,
  OpenContent,
  SendRequest,
} from '../../http/content-services.ts'
import type { Logger } from '../../shared/logger.ts'
import type { Admission } from '../admission/admission.ts'
import type { Place } from '../admission/places.ts'
import type { Actor } from '../../checkpoint/actor.ts'
import type { ArchiveReader } from '../inspection/archive-reader.ts'
import { pumpBytes, SourceEndedError } from '../../streams/byte-pump.ts'
import type { ByteSink } from '../../streams/byte-sink.ts'
import { compressingSink, type ContentCoding } from '../../streams/compressing-sink.ts'
import { openContentFile, type ContentFile } from './content-file.ts'
import type { ContentIntent, ContentOutcome, ContentRecorder } from './content-recorder.ts'
import { encryptingSink } from './encrypting-sink.ts'
import { assertPlainAllowed, chooseRecipients, type EncryptionRule } from './encryption-rule.ts'
import { Readers } from './readers.ts'
import { type Seal, sealHere, SealingThreads } from './sealing-threads.ts'

export interface ContentsOptions {
  readonly directory: string
  /**
   * Reader process that inspects archives. Bytes of uncompressed archives are read by the agent, which does not
   * interpret them.
   */
  readonly reader: Pick<ArchiveReader, 'findMember' | 'readRootfsDiff' | 'openPackedMember'>
  readonly admission: Admission
  readonly maxHoldMs: number
  readonly encryption: EncryptionRule
  readonly recorder: ContentRecorder
  readonly logger: Logger
}

/**
 * Sends the content of archives. Limits concurrent downloads, records each one, and never sends bytes of a file that
 * has changed.
 */
export class Contents implements ContentServices {
  readonly readers: Readers
  readonly #options: ContentsOptions
  readonly #sealing = new SealingThreads()
  readonly #open = new Set<Promise<void>>()

  constructor(options: ContentsOptions) {
    this.#options = options
    this.readers = new Readers(options.maxHoldMs)
  }

  /**
   * Opens a whole archive. Throws ConflictError (`ArchiveIncomplete`, `CheckpointChanged`, `NotReadable`),
   * UnavailableError (`TooManyDownloads`), and the errors of invalid recipients.
   */
  async openArchive(checkpoint: Checkpoint, request: EncryptableRequest): Promise<OpenContent> {
    const recipients = chooseRecipients(this.#options.encryption, request.recipients)
    const reading = await this.#beginReading(checkpoint, request, 'streams')
    const source = reading.file.source(request.signal)
    const { sizeBytes } = reading.file
    return this.#openContent({
      ...reading,
      sizeBytes,
      open: () => Promise.resolve(source),
      recipients,
      about: { what: 'archive' },
    })
  }

  /**
   * Opens one member of an archive. Throws like `openArchive`, and also UnavailableError (`TooManyInspections`),
   * NotFoundError (`MemberNotFound`) and ConflictError (`NotAFile`).
   */
  async openMember(
    checkpoint: Checkpoint,
    request: EncryptableRequest & { readonly member: string },
  ): Promise<OpenContent> {
    const recipients = chooseRecipients(this.#options.encryption, request.recipients)
    const reading = await this.#beginReading(checkpoint, request, 'inspections')
    try {
      const { signal } = request
      const { reader } = this.#options
      const { file } = reading
      const found = await reader.findMember(file.forReader, request.member, signal)
      if (found === undefined) throw memberNotFound(checkpoint, request.member)
      const { member, compression } = found
      if (member.type !== 'file') throw notAFile(checkpoint, request.member, member.type)
      await reading.moveTo('streams')
      const isPlain = compression === 'none'
      return this.#openContent({
        ...reading,
        sizeBytes: member.sizeBytes,
        open: async () =>
          isPlain
            ? sliceOf(file.source(signal), member)
            : await reader.openPackedMember(file.forReader, member, signal),
        recipients,
        about: { what: 'member', member: request.member },
      })
    } catch (error) {
      await reading.close()
      throw error
    }
  }

  async readRootfsDiff(
    checkpoint: Checkpoint,
    request: ContentRequest & { readonly skip: number; readonly limit: number; readonly isHeadOnly?: boolean },
  ): Promise<RootfsDiff & { readonly isComplete: boolean }> {
    assertPlainAllowed(this.#options.encryption)
    const reading = await this.#beginReading(checkpoint, request, 'inspections')
    const { actor, skip, limit, signal } = request
    const opened = asOpened(checkpoint, reading.file)
    const intent: ContentIntent = { actor, checkpoint: opened, what: 'rootfs-diff', recipients: [] }
    try {
      const read = async () => {
        const { file } = reading
        const found = await this.#options.reader.readRootfsDiff(file.forReader, { skip, limit, signal })
        file.assertSame()
        return found
      }
      if (request.isHeadOnly !== true) await this.#recordBegin(intent)
      const diff = request.isHeadOnly === true ? await read() : await this.#recorded(intent, signal, read)
      // Only containerd compares the layers. Other engines omit changes that their helper does not find.
      return { ...diff, isComplete: diff.isThere && diff.isWhole && checkpoint.engine === 'containerd' }
    } finally {
      await reading.close()
    }
  }

  /** Resolves once no content is being read. */
  async close(): Promise<void> {
    await Promise.all(this.#open)
    await this.#sealing.close()
  }

  async #beginReading(
    checkpoint: Checkpoint,
    { actor, acceptsIncomplete, signal }: ContentRequest,
    kind: PlaceKind,
  ): Promise<Reading> {
    const { admission } = this.#options
    let place = await admission[kind].enter(actor.user, signal)
    const release = this.readers.hold(checkpoint.id)
    const closed = Promise.withResolvers<void>()
    this.#open.add(closed.promise)
    const end = () => {
      release()
      place.leave()
      this.#open.delete(closed.promise)
      closed.resolve()
    }
    try {
      const file = await openContentFile(checkpoint, { directory: this.#options.directory, acceptsIncomplete })
      let closing: Promise<void> | undefined
      return {
        file,
        checkpoint,
        actor,
        signal,
        place: () => place,
        // Leaves the first place before it enters the next one. Holding both kinds could block all other callers.
        moveTo: async (next) => {
          place.leave()
          place = await admission[next].enter(actor.user, signal)
        },
        close: () => (closing ??= file.close().finally(end)),
      }
    } catch (error) {
      end()
      throw error
    }
  }

  #openContent(content: ContentToSend): OpenContent {
    const { file, sizeBytes, recipients, checkpoint, actor, about } = content
    const texts = recipients.map(({ text }) => text)
    return {
      sizeBytes,
      generation: file.generation,
      recipients: texts,
      close: content.close,
      send: async (order) => {
        const { first, end, coding } = order
        const intent: ContentIntent = {
          actor,
          checkpoint: asOpened(checkpoint, file),
          ...about,
          range: { first, end, sizeBytes },
          ...(coding !== undefined && { coding }),
          recipients: texts,
        }
        await this.#recordBegin(intent)
        await this.#send(content, order, intent)
      },
    }
  }

  async #send(
    { file, open, recipients, signal, place }: ContentToSend,
    order: SendRequest,
    intent: ContentIntent,
  ): Promise<void> {
    let sentBytes = 0
    let source: ByteSource | undefined
    let sink: ByteSink | undefined
    let hasGivenWay = false
    try {
      const { first, end, coding } = order
      source = await open()
      const seal = end - first > SEALED_HERE_BYTES ? this.#sealing.seal : sealHere
      // Counts bytes before they are handed over, since a write that did not finish may still have been sent.
      const started = countingSink(wrap(order.start(), { recipients, seal, coding }), (bytes) => {
        sentBytes += bytes
      })
      sink = started
      const stream = place().stream(() => {
        hasGivenWay = true
        started.close()
      })
      const onProgress = (bytes: number) => {
        stream.taken(bytes)
      }
      const isConverted = recipients.length > 0 || coding !== undefined
      await pumpBytes({ source, first, end, sink, assertSame: file.assertSame, isConverted, onProgress })
      await sink.end()
    } catch (thrown) {
      const hasLeft = !hasGivenWay && (signal.aborted || thrown instanceof CallerLeftError)
      sink?.close()
      const error = hasGivenWay ? gaveWay(intent.checkpoint) : explain(thrown, file)
      if (!hasLeft) {
        this.#options.logger.warn({ id: intent.checkpoint.id, error: errorText(error) }, 'A download ended early')
      }
      await this.#recordEnd({ intent, result: hasLeft ? 'left' : 'failed', sentBytes, error: errorText(error) })
      throw error
    } finally {
      source?.close?.()
    }
    await this.#recordEnd({ intent, result: 'sent', sentBytes })
  }

  async #recorded<Result>(intent: ContentIntent, signal: AbortSignal, work: () => Promise<Result>): Promise<Result> {
    try {
      const result = await work()
      await this.#recordEnd({ intent, result: 'sent', sentBytes: 0 })
      return result
    } catch (error) {
      const result = signal.aborted ? 'left' : 'failed'
      await this.#recordEnd({ intent, result, sentBytes: 0, error: errorText(error) })
      throw error
    }
  }

  async #recordBegin(intent: ContentIntent): Promise<void> {
    try {
      await this.#options.recorder.begin(intent)
    } catch (error) {
      if (error instanceof AgentError) throw error
      throw new UnavailableError(`Cannot hand out checkpoint "${intent.checkpoint.id}": ${errorText(error)}`, {
        code: 'CustodyUnavailable',
        hint: 'What cannot be recorded is not given out; see the log of the agent.',
        cause: error,
      })
    }
  }

  async #recordEnd(outcome: ContentOutcome): Promise<void> {
    try {
      await this.#options.recorder.end(outcome)
    } catch (error) {
      const { checkpoint } = outcome.intent
      this.#options.logger.error({ id: checkpoint.id, error: errorText(error) }, 'Cannot record how a download ended')
    }
  }
}

interface Reading {
  readonly file: ContentFile
  readonly checkpoint: Checkpoint
  readonly actor: Actor
  readonly signal: AbortSignal
  readonly place: () => Place
  /** Moves to a place of another kind and leaves the current one. Throws like `enter`. */
  readonly moveTo: (kind: PlaceKind) => Promise<void>
  readonly close: () => Promise<void>
}

type PlaceKind = 'streams' | 'inspections'

interface ContentToSend extends Reading {
  readonly sizeBytes: number
  /** Opens the bytes. Called once bytes are certainly wanted and before the first of them is promised. */
  readonly open: () => Promise<ByteSource>
  readonly recipients: readonly AgeRecipient[]
  readonly about: Pick<ContentIntent, 'what' | 'member'>
}

/** Content up to this size is encrypted on the main thread, which takes about as long as starting another thread. */
const SEALED_HERE_BYTES = 4 * 1024 * 1024

interface Form {
  readonly recipients: readonly AgeRecipient[]
  readonly seal: Seal
  readonly coding: ContentCoding | undefined
}

function wrap(sink: ByteSink, { recipients, seal, coding }: Form): ByteSink {
  if (recipients.length > 0) return encryptingSink(sink, { recipients, seal })
  return coding === undefined ? sink : compressingSink(sink, coding)
}

function countingSink(sink: ByteSink, onBytes: (bytes: number) => void): ByteSink {
  return {
    write: (piece) => {
      onBytes(piece.length)
      return sink.write(piece)
    },
    end: () => sink.end(),
    close: () => sink.close(),
  }
}

/**
 * Returns the checkpoint with the data of the opened file. A growing file has another generation than the one in the
 * index.
 */
function asOpened(checkpoint: Checkpoint, { generation, sizeBytes }: ContentFile): Checkpoint {
  if (generation === checkpoint.generation) return checkpoint
  const { sha256: _, ...rest } = checkpoint
  return { ...rest, generation, sizeBytes }
}

/** Explains an error of a download. If the file was truncated while it was read, the error says that it has changed. */
function explain(error: unknown, file: ContentFile): unknown {
  if (error instanceof ProblemError) {
    return new ConflictError(`Cannot read the archive to the end of this member: ${error.problem.detail}`, {
      code: error.problem.code,
      cause: error,
    })
  }
  if (!(error instanceof SourceEndedError)) return error
  try {
    file.assertSame()
  } catch (changed) {
    return changed
  }
  return error
}

function gaveWay({ id }: Checkpoint): UnavailableError {
  return new UnavailableError(
    `Cannot go on sending checkpoint "${id}": its reader took less than 64 KiB a second while others waited`,
    { code: 'TooManyDownloads', hint: 'Go on where it ended, with "Range", or have content.concurrency raised.' },
  )
}

function memberNotFound({ id }: Checkpoint, member: string): NotFoundError {
  return new NotFoundError(`Cannot find "${member}" in checkpoint "${id}"`, {
    code: 'MemberNotFound',
    hint: `See GET /v1/checkpoints/${id}/members for the names.`,
  })
}

function notAFile({ id }: Checkpoint, member: string, type: string): ConflictError {
  return new ConflictError(`Cannot read "${member}" in checkpoint "${id}": it is a ${type}, and holds no bytes`, {
    code: 'NotAFile',
    hint: `See GET /v1/checkpoints/${id}/members for where a link leads.`,
  })
}
