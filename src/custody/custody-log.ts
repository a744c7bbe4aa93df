import { createPublicKey } from 'node:crypto'
import { join } from 'node:path'
import type { Clock } from '../shared/clock.ts'
import { errorText } from '../shared/errors.ts'
import type { Logger } from '../shared/logger.ts'
import { nodeDisk, replaceFile, type CustodyDisk } from './custody-disk.ts'
import {
  AGENT_ACTOR,
  CHAIN_BEGIN,
  sealEntry,
  type ChainEnd,
  type CustodyDraft,
  type CustodyEntry,
} from './custody-entry.ts'
import { readHead, signHead } from './custody-head.ts'
import { HEAD_FILE, PUBLIC_KEY_FILE, segmentOf, segmentPath, segmentsAmong } from './custody-segments.ts'
import { createSegment, markNoted, openTail, type CustodyTail } from './custody-tail.ts'
import { boundDraft, unwritable } from './draft-bounds.ts'
import { cannotWrite, isDiskFailure, LogFileGoneError, stackOf } from './log-failure.ts'
import { roomBytes, reserveBytes, type CustodyRoom } from './log-room.ts'
import type { SigningKey } from './signing-key.ts'

export interface CustodyLogOptions {
  readonly folder: string
  readonly node: string
  readonly key: SigningKey
  readonly clock: Clock
  readonly logger: Logger
  /** Size from which entries that may be refused are refused. */
  readonly maxBytes: number
  readonly segmentBytes?: number
  readonly headEveryMs?: number
  readonly retryMs?: number
  readonly disk?: CustodyDisk
  /** Called with every entry that is on the disk, in order. */
  readonly onEntry?: (entry: CustodyEntry) => void
}

export interface CustodyLogState {
  readonly sizeBytes: number
  readonly maxBytes: number
  /** The part of `maxBytes` that content, pins and verifications may not use. */
  readonly reserveBytes: number
  /** Cause of the present write failure, if any. */
  readonly error: string | undefined
  /** Entries lost because the disk failed for longer than memory could hold them. */
  readonly lostEntries: number
  readonly entries: number
}

interface Waiting {
  readonly draft: CustodyDraft
  readonly time: Date
  readonly done: PromiseWithResolvers<CustodyEntry>
  /**
   * True if the entry concerns a past event, so that it must be written later if it cannot be
   * written now.
   */
  readonly isOwed: boolean
}

const SEGMENT_BYTES = 8 * 1024 * 1024
const HEAD_EVERY_MS = 1_000
const HEAD_LOGGED_EVERY_MS = 3_600_000
const RETRY_MS = 5_000
/** Entries written together, with one write and one fsync. */
const MAX_BATCH = 2_048
const MAX_OWED = 1_000
/**
 * Time between measurements of a nearly full log directory, from which old segments may have been
 * moved.
 */
const MEASURE_EVERY_MS = 5_000

/**
 * The append-only log. Concurrent entries share one write and one fsync, in the order of the calls.
 * An entry is confirmed once it is on the disk.
 */
export class CustodyLog {
  readonly folder: string
  readonly #options: CustodyLogOptions
  readonly #disk: CustodyDisk
  #waiting: Waiting[] = []
  /**
   * Entries to write before all others: notes about the log itself, and entries pending since the
   * disk failed.
   */
  #owed: Pick<Waiting, 'draft' | 'time'>[] = []
  #work: Promise<void> | undefined
  #tail: CustodyTail | undefined
  #end: ChainEnd | undefined
  #unnoted: readonly string[] = []
  #mustMend = false
  #earlierBytes = 0
  #measuredAt = Number.NEGATIVE_INFINITY
  #error: { readonly since: Date; readonly text: string; refused: number } | undefined
  #lost = 0
  #entries = 0
  #headSeq = 0
  #headTimer: NodeJS.Timeout | undefined
  #headWork = Promise.resolve()
  #retryTimer: NodeJS.Timeout | undefined
  #hourly: NodeJS.Timeout | undefined
  #isClosed = false

  constructor(options: CustodyLogOptions) {
    this.folder = options.folder
    this.#options = options
    this.#disk = options.disk ?? nodeDisk
  }

  get state(): CustodyLogState {
    const { maxBytes } = this.#options
    const sizeBytes = this.#earlierBytes + (this.#tail?.sizeBytes ?? 0)
    return {
      sizeBytes,
      maxBytes,
      reserveBytes: reserveBytes(maxBytes),
      error: this.#error?.text,
      lostEntries: this.#lost,
      entries: this.#entries,
    }
  }

  /** Last entry on the disk; undefined before the log is open. */
  get end(): ChainEnd | undefined {
    return this.#end
  }

  /**
   * Opens the log and repairs the traces of a crash. Resolves even if that fails, and retries
   * periodically.
   */
  async start(): Promise<void> {
    this.#begin()
    await this.#work
    this.#logHead()
    this.#hourly = setInterval(() => this.#logHead(), HEAD_LOGGED_EVERY_MS)
    this.#hourly.unref()
  }

  /**
   * Appends an entry and resolves once it is on the disk. Throws an UnavailableError
   * (`CustodyUnavailable`) without writing anything.
   */
  async append(draft: CustodyDraft, room: CustodyRoom = 'open'): Promise<CustodyEntry> {
    const [entry] = await this.appendAll([draft], room)
    if (entry === undefined) throw new Error('The custody log has answered for nothing')
    return entry
  }

  /**
   * Appends several entries with one write and one fsync. If it throws, some of them may still have
   * been written.
   */
  async appendAll(drafts: readonly CustodyDraft[], room: CustodyRoom): Promise<readonly CustodyEntry[]> {
    await this.#assertRoom(room)
    return await Promise.all(this.#enqueue(drafts, false))
  }

  /**
   * Appends an entry about something that has happened or will happen regardless. If the disk
   * fails, returns undefined and writes the entry later.
   */
  async appendOwed(draft: CustodyDraft): Promise<CustodyEntry | undefined> {
    const [entry] = await this.appendAllOwed([draft])
    return entry
  }

  async appendAllOwed(drafts: readonly CustodyDraft[]): Promise<readonly (CustodyEntry | undefined)[]> {
    return await Promise.all(this.#enqueue(drafts, true).map((entry) => entry.catch(() => undefined)))
  }

  /** Writes the pending entries and the last head. */
  async close(): Promise<void> {
    this.#isClosed = true
    clearInterval(this.#hourly)
    clearTimeout(this.#retryTimer)
    clearTimeout(this.#headTimer)
    await this.#work
    await this.#writeHead()
    this.#logHead()
    if (this.#owed.length > 0) {
      this.#options.logger.error({ entries: this.#owed.length }, 'Entries of the custody log are lost: its disk fails')
    }
    await this.#tail?.file.close().catch(() => undefined)
    this.#tail = undefined
  }

  /** Returns the present head, signed, for storage elsewhere. */
  signedHead() {
    const { node, key, clock } = this.#options
    return signHead({ node, ...(this.#end ?? CHAIN_BEGIN), time: clock.now().toISOString() }, key)
  }

  #enqueue(drafts: readonly CustodyDraft[], isOwed: boolean): readonly Promise<CustodyEntry>[] {
    if (this.#isClosed) {
      const error = cannotWrite('the agent is ending', 'Ask again when it has been started anew.')
      return drafts.map(() => Promise.reject(error))
    }
    const { clock, node } = this.#options
    const time = clock.now()
    const added = drafts.map((draft) => ({
      draft: boundDraft(draft, node),
      time,
      done: Promise.withResolvers<CustodyEntry>(),
      isOwed,
    }))
    this.#waiting.push(...added)
    this.#begin()
    return added.map(({ done }) => done.promise)
  }

  #begin(): void {
    this.#work ??= this.#commitAll().finally(() => {
      this.#work = undefined
      if (this.#waiting.length > 0) this.#begin()
    })
  }

  async #commitAll(): Promise<void> {
    do {
      const batch = this.#waiting.splice(0, MAX_BATCH)
      try {
        await this.#commit(batch)
      } catch (error) {
        this.#fail(batch, error)
      }
    } while (this.#waiting.length > 0)
  }

  async #commit(batch: readonly Waiting[]): Promise<void> {
    let tail = await this.#readyTail()
    if (this.#error !== undefined) this.#owe(this.#resumption(this.#error))
    if (tail.sizeBytes >= (this.#options.segmentBytes ?? SEGMENT_BYTES)) tail = await this.#nextSegment(tail)
    const first = [...this.#opening(tail), ...this.#owed]
    const sealed = this.#seal([...first, ...batch], tail.end)
    if (sealed.entries.length > 0) {
      this.#mustMend = true
      await tail.file.write(sealed.bytes, tail.sizeBytes)
      await tail.file.sync()
      this.#mustMend = false
      this.#tail = { ...tail, sizeBytes: tail.sizeBytes + sealed.bytes.length, end: sealed.end }
      this.#end = sealed.end
    }
    this.#owed = []
    this.#recovered()
    this.#entries += sealed.entries.length
    for (const entry of sealed.entries) this.#announce(entry)
    for (const [index, { done }] of batch.entries()) {
      const entry = sealed.entries[first.length + index]
      if (entry !== undefined) done.resolve(entry)
    }
    this.#headTimer ??= setTimeout(() => void this.#writeHead(), this.#options.headEveryMs ?? HEAD_EVERY_MS).unref()
    await this.#markNoted()
  }

  #seal(items: readonly Pick<Waiting, 'draft' | 'time'>[], from: ChainEnd) {
    const entries: CustodyEntry[] = []
    const lines: string[] = []
    let end = from
    for (const { draft, time } of items) {
      const { entry, line } = this.#sealOne(draft, { after: end, time, node: this.#options.node })
      entries.push(entry)
      lines.push(line)
      end = { seq: entry.seq, hash: entry.hash }
    }
    return { entries, bytes: Buffer.from(lines.join('')), end }
  }

  #sealOne(draft: CustodyDraft, place: { readonly after: ChainEnd; readonly time: Date; readonly node: string }) {
    try {
      return sealEntry(draft, place)
    } catch (error) {
      this.#options.logger.error(
        { action: draft.action, error: errorText(error), stack: stackOf(error) },
        'Cannot write an entry of the custody log as it is: this is an error in the agent',
      )
      return sealEntry(unwritable(draft, error), place)
    }
  }

  /** The entry is on the disk, so an error in its listener must not write it again. */
  #announce(entry: CustodyEntry): void {
    try {
      this.#options.onEntry?.(entry)
    } catch (error) {
      this.#options.logger.error(
        { seq: entry.seq, error: errorText(error), stack: stackOf(error) },
        'Cannot take note of an entry of the custody log: this is an error in the agent',
      )
    }
  }

  /**
   * Creates the first entry of every segment but the first; without it, missing lines at the
   * beginning would go unnoticed.
   */
  #opening({ sizeBytes, segment }: CustodyTail): readonly Pick<Waiting, 'draft' | 'time'>[] {
    if (sizeBytes > 0 || segment.number === 1) return []
    const detail = { segment: segment.number }
    return [this.#timed({ actor: AGENT_ACTOR, action: 'log.segment', detail, outcome: 'done' })]
  }

  /**
   * Returns the open tail without unconfirmed bytes, after checking that its file is still in the
   * directory.
   */
  async #readyTail(): Promise<CustodyTail> {
    if (this.#tail === undefined) return await this.#open(await this.#readHead())
    const tail = this.#tail
    const there = await this.#disk.look(segmentPath(this.folder, tail.segment))
    if (there === undefined) throw new LogFileGoneError(`${tail.segment.name} is gone`)
    if (this.#mustMend && there.inode === tail.inode && there.sizeBytes >= tail.sizeBytes) {
      await tail.file.truncate(tail.sizeBytes)
      await tail.file.sync()
      this.#mustMend = false
      return tail
    }
    if (there.inode === tail.inode && there.sizeBytes === tail.sizeBytes) return tail
    // Another process has changed the file.
    await tail.file.close().catch(() => undefined)
    this.#tail = undefined
    return await this.#open(tail.end)
  }

  async #open(known: ChainEnd | undefined): Promise<CustodyTail> {
    const { key, logger } = this.#options
    const { tail, notes, quarantine } = await openTail(this.folder, known, this.#disk)
    this.#tail = tail
    this.#end = tail.end
    this.#unnoted = quarantine
    this.#mustMend = false
    for (const note of notes) {
      this.#owed.push(this.#timed(note))
      logger.error({ action: note.action, ...note.detail }, 'The custody log was not as it had been left')
    }
    await this.#measure()
    const publicKeyFile = join(this.folder, PUBLIC_KEY_FILE)
    await replaceFile(this.#disk, publicKeyFile, key.publicKey)
    return tail
  }

  /** Reads the last entry known from the head file. Ignores a head that this agent did not sign. */
  async #readHead(): Promise<ChainEnd | undefined> {
    const path = join(this.folder, HEAD_FILE)
    if ((await this.#disk.look(path)) === undefined) return undefined
    const read = readHead((await this.#disk.read(path)).toString(), createPublicKey(this.#options.key.privateKey))
    return read?.isSigned === true ? { seq: read.head.seq, hash: read.head.hash } : undefined
  }

  async #nextSegment(tail: CustodyTail): Promise<CustodyTail> {
    const next = await createSegment(this.folder, segmentOf(tail.segment.number + 1), tail.end, this.#disk)
    this.#tail = next
    await tail.file.close().catch(() => undefined)
    await this.#measure()
    await this.#writeHead()
    this.#logHead()
    return next
  }

  async #measure(): Promise<void> {
    this.#measuredAt = performance.now()
    let bytes = 0
    for (const segment of segmentsAmong(await this.#disk.list(this.folder))) {
      if (segment.number === this.#tail?.segment.number) continue
      bytes += (await this.#disk.look(segmentPath(this.folder, segment)))?.sizeBytes ?? 0
    }
    this.#earlierBytes = bytes
  }

  async #assertRoom(room: CustodyRoom): Promise<void> {
    if (room === 'always') return
    const limitBytes = roomBytes(this.#options.maxBytes, room)
    if (this.state.sizeBytes >= limitBytes * 0.8 && performance.now() - this.#measuredAt > MEASURE_EVERY_MS) {
      await this.#measure().catch(() => undefined)
    }
    if (this.state.sizeBytes < limitBytes) return
    throw cannotWrite(
      room === 'open' ? 'the log is full but for the reserve for captures and removals' : 'the log is full',
      'Copy the oldest files of its folder to a safe place and remove them here, or raise custody.maxSize.',
    )
  }

  #fail(batch: readonly Waiting[], error: unknown): void {
    const { clock, logger } = this.#options
    const isDisk = isDiskFailure(error)
    const text = isDisk ? errorText(error) : `an error in the agent: ${errorText(error)}`
    if (this.#error?.text !== text) {
      logger.error({ error: text, ...(!isDisk && { stack: stackOf(error) }) }, 'The custody log cannot be written')
    }
    this.#error = { since: this.#error?.since ?? clock.now(), text, refused: this.#error?.refused ?? 0 }
    for (const waiting of batch) {
      if (waiting.isOwed) this.#owe(waiting)
      else this.#error.refused += 1
      waiting.done.reject(
        isDisk
          ? cannotWrite(
              `its disk fails (${text})`,
              'See that the disk of state.directory is there, writable and not full; the agent tries again by itself.',
              error,
            )
          : cannotWrite(text, 'Report it with the lines of the agent log; the agent tries again by itself.', error),
      )
    }
    if (this.#isClosed) return
    this.#retryTimer ??= setTimeout(() => {
      this.#retryTimer = undefined
      this.#begin()
    }, this.#options.retryMs ?? RETRY_MS).unref()
  }

  #recovered(): void {
    if (this.#error === undefined) return
    this.#options.logger.info(
      { since: this.#error.since, refused: this.#error.refused },
      'The custody log is written again',
    )
    this.#error = undefined
  }

  #resumption({ since, text, refused }: { readonly since: Date; readonly text: string; readonly refused: number }) {
    const detail = { since: since.toISOString(), error: text, refused, lost: this.#lost }
    return this.#timed({ actor: AGENT_ACTOR, action: 'log.resume', detail, outcome: 'done' })
  }

  #owe(owed: Pick<Waiting, 'draft' | 'time'>): void {
    // One note is enough while the disk keeps failing between attempts.
    if (owed.draft.action === 'log.resume') {
      this.#owed = this.#owed.filter(({ draft }) => draft.action !== 'log.resume')
    }
    if (this.#owed.length >= MAX_OWED) this.#lost += 1
    else this.#owed.push(owed)
  }

  #timed(draft: CustodyDraft): Pick<Waiting, 'draft' | 'time'> {
    const { clock, node } = this.#options
    return { draft: boundDraft(draft, node), time: clock.now() }
  }

  async #markNoted(): Promise<void> {
    const names = this.#unnoted
    this.#unnoted = []
    for (const name of names) await markNoted(this.folder, name, this.#disk).catch(() => undefined)
  }

  /** Writes heads one at a time, because they share a temporary file. */
  #writeHead(): Promise<void> {
    clearTimeout(this.#headTimer)
    this.#headTimer = undefined
    this.#headWork = this.#headWork.then(() => this.#replaceHead())
    return this.#headWork
  }

  /**
   * Writes only what is certainly on the disk: a head ahead of its log would look like tampering.
   */
  async #replaceHead(): Promise<void> {
    const seq = this.#end?.seq ?? 0
    if (seq <= this.#headSeq) return
    const text = `${JSON.stringify(this.signedHead())}\n`
    try {
      await replaceFile(this.#disk, join(this.folder, HEAD_FILE), text)
      this.#headSeq = seq
    } catch (error) {
      this.#options.logger.error({ error: errorText(error) }, 'Cannot write the head of the custody log')
    }
  }

  #logHead(): void {
    if (this.#end === undefined) return
    this.#options.logger.info({ seq: this.#end.seq, hash: this.#end.hash, head: this.signedHead() }, 'Custody log head')
  }
}
