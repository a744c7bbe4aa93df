import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises'
import type { Checkpoint } from '../../checkpoint/checkpoint.ts'
import { archiveOfMarker } from '../../checkpoint/pin-marker.ts'
import { checkpointId } from '../../checkpoint/checkpoint-id.ts'
import type { Clock } from '../../shared/clock.ts'
import { errorText } from '../../shared/errors.ts'
import { PollLoop } from '../../shared/poll-loop.ts'
import type { Logger } from '../../shared/logger.ts'
import type { CheckpointFile, CheckpointStore } from '../../store/checkpoint-store.ts'
import type { JobStore } from '../../store/job-store.ts'
import { ArchiveDigests } from '../hashing/archive-digests.ts'
import { isArchiveName } from './archive-file.ts'
import { ArchiveLooks, SETTLED, type CapturedFile, type Finding, type UnreadFile } from './archive-looks.ts'
import { scanDirectory } from './directory-scan.ts'
import type { CaptureFacts } from '../custody/capture-facts.ts'
import { DirectoryWatcher } from './directory-watcher.ts'
import type { ArchiveReader, ReaderLane } from '../inspection/archive-reader.ts'
import { NodeEvents } from '../status/node-events.ts'
import type { PermissionRepair, PermissionsPolicy } from '../directory/permissions.ts'
import { ScanQueue, type Flight } from './scan-queue.ts'
import { SettlingFiles } from './settling.ts'

export interface InventoryOptions {
  readonly directory: string
  readonly store: CheckpointStore
  readonly jobs: JobStore
  /** Where the bytes of archives are read: never here. */
  readonly reader: Pick<ArchiveReader, 'summarize' | 'summarizeAll'>
  readonly permissions: PermissionsPolicy
  readonly onRepair?: (repair: PermissionRepair) => void
  /** What is on record of the capture that left this file behind, where the index has forgotten it. */
  readonly findObservedCapture?: (file: CapturedFile) => CaptureFacts | undefined
  /** When the digest of an archive was put on record, in milliseconds. */
  readonly findDigestTime?: (id: string) => number | undefined
  readonly rescanMs: number
  /** Where those who watch are told; its own unless given. */
  readonly events?: NodeEvents
  readonly clock: Clock
  readonly logger: Logger
  /** How long a whole file must stay as it is before it counts as finished. */
  readonly settleMs?: number
}

interface Landed {
  readonly finding: Finding
  readonly flight: Flight
}

const SETTLE_MS = 1_000
/** Events of one file come in bursts; this much later they are one. */
const GATHER_MS = 20
/** So many are handed to the reader in one go. */
const BATCH = 32
/** So many batches are under way at once: the reader goes on while the rows of those that it has read are saved. */
const BATCHES_AHEAD = 4
/** So many become rows in one go: a transaction for each batch would cost as much as the rows. */
const ROWS_AT_ONCE = 128
/** What was found by then becomes rows though others take longer. */
const SAVE_EVERY_MS = 200
/** What could not be looked at may be well again by then. */
const FAILED_AGAIN_MS = 1_000
/** These say nothing about the file, and may be over in a moment. */
const PASSING: ReadonlySet<string> = new Set(['EAGAIN', 'EINTR', 'EMFILE', 'ENFILE', 'ENOMEM'])
/** Whoever waits for a look at a file that is replaced again and again does not wait longer than this. */
const LOOKS_AT_REPLACED = 3
/** Some milliseconds. */
const NAMES_A_RESCAN = 1_000

/**
 * Knows every archive of the directory, whoever wrote it. Events say where to look, a rescan now and then is the truth
 * behind them, and the index holds what was found: it can be deleted at any time.
 */
export class Inventory {
  readonly events: NodeEvents
  readonly #options: InventoryOptions
  readonly #looks: ArchiveLooks
  #watcher: DirectoryWatcher | undefined
  readonly #digests: ArchiveDigests
  readonly #stop = new AbortController()
  readonly #loop: PollLoop
  readonly #queue = new ScanQueue((name) => {
    this.touch(Buffer.from(name, 'latin1'))
  })
  /** By id: somebody else sees to these. */
  readonly #exclude = new Set<string>()
  /** Looks that somebody waits for and that have not begun yet, by name. */
  readonly #wanted = new Map<string, Promise<void>>()
  #work: Promise<void> | undefined
  #mustRescan = true
  #rescans = 0
  #lastRescan: { readonly at: Date; readonly millis: number } | undefined

  constructor(options: InventoryOptions) {
    this.#options = options
    this.#loop = new PollLoop({
      poll: () => {
        this.#watcher?.retry()
        this.#mustRescan = true
        this.#wake(0)
      },
      intervalMs: options.rescanMs,
    })
    this.events = options.events ?? new NodeEvents()
    this.#digests = new ArchiveDigests({
      directory: options.directory,
      store: options.store,
      onRow: (checkpoint) => {
        this.events.emit('changed', checkpoint)
      },
      onOtherFile: (rawName) => {
        this.touch(rawName)
      },
      logger: options.logger,
    })
    this.#looks = new ArchiveLooks({
      ...options,
      settling: new SettlingFiles(options.settleMs ?? SETTLE_MS),
      digests: this.#digests,
      recheck: (rawName, afterMs) => {
        this.#recheck(rawName, afterMs)
      },
    })
  }

  /** Why events do not come; the rescan still finds everything. */
  get watchError(): string | undefined {
    return this.#watcher?.error
  }

  /** How often the whole directory was read through. */
  get rescans(): number {
    return this.#rescans
  }

  /** Archives that wait for their digest, the one under way included. */
  get hashQueueLength(): number {
    return this.#digests.length
  }

  get lastRescan(): { readonly at: Date; readonly millis: number } | undefined {
    return this.#lastRescan
  }

  /** Looks at nothing by itself before that: what is on record of the archives may not have been read yet. */
  start(): void {
    if (this.#stop.signal.aborted) return
    const { directory, logger } = this.#options
    this.#watcher = new DirectoryWatcher({
      directory,
      logger,
      onChange: (name) => {
        if (name === undefined) this.#mustRescan = true
        else this.#touchEvent(Buffer.from(name))
        this.#wake(GATHER_MS)
      },
    })
    this.#loop.start()
  }

  /** Does not wait for the reader: what it answers from now on is not looked at. */
  async stop(): Promise<void> {
    this.#stop.abort()
    await Promise.all([this.#digests.close(), this.#watcher?.close(), this.#loop.stop()])
    await this.#work
  }

  /** Looks at this file soon. */
  touch(rawName: Uint8Array): void {
    this.#queue.add(Buffer.from(rawName).toString('latin1'))
    this.#wake(0)
  }

  /** Looks at this file before any other, and resolves when its row is as the file is. */
  async refresh(rawName: Uint8Array): Promise<void> {
    const name = Buffer.from(rawName).toString('latin1')
    // One that somebody waits for already may have seen the file as it was.
    const wanted = this.#wanted.get(name) ?? this.#queue.endOfWanted(name).then(() => this.#lookAtWanted(name))
    this.#wanted.set(name, wanted)
    await wanted
  }

  /** These very files are gone for certain; what has taken the name of one since keeps its row. */
  forget(removed: readonly CheckpointFile[]): void {
    for (const { rawName } of removed) this.#queue.markStale(Buffer.from(rawName).toString('latin1'))
    // Who looked at a file while it went is not to tell of it a second time.
    for (const { id, namespace } of this.#options.store.removeAll(removed)) {
      this.#looks.forget(id)
      // Only who could see it is told that it is gone.
      this.events.emitRemoved(id, namespace)
    }
  }

  /** What happens to these files is not looked at until they are let go: who removes them tells how that ended. */
  exclude(ids: readonly string[]): void {
    for (const id of ids) this.#exclude.add(id)
  }

  release(ids: readonly string[]): void {
    for (const id of ids) this.#exclude.delete(id)
  }

  /** Reads the whole directory and resolves when everything found has its row. */
  async rescan(): Promise<void> {
    this.#mustRescan = true
    this.#wake(0)
    while (this.#work !== undefined) await this.#work
  }

  #touchEvent(name: Buffer): void {
    const archive = archiveOfMarker(name.toString('latin1'))
    const rawName = Buffer.from(archive, 'latin1')
    if (!isArchiveName(rawName)) return
    if (this.#exclude.size > 0 && this.#exclude.has(checkpointId(rawName))) return
    this.#queue.addUnlessResting(archive)
  }

  #wake(afterMs: number): void {
    if (this.#stop.signal.aborted) return
    this.#work ??= this.#run(afterMs).finally(() => {
      this.#work = undefined
      if (!this.#queue.isEmpty || this.#mustRescan) this.#wake(GATHER_MS)
    })
  }

  async #run(afterMs: number): Promise<void> {
    const { signal } = this.#stop
    if (afterMs > 0) await sleep(afterMs, undefined, { signal, ref: false }).catch(() => undefined)
    try {
      if (this.#mustRescan) await this.#findChanges()
      await this.#lookAtAll()
      this.#digests.startWaiting()
    } catch (error) {
      this.#options.logger.error({ error: errorText(error) }, 'Cannot bring the inventory up to date')
      await sleep(1_000, undefined, { signal, ref: false }).catch(() => undefined)
    }
  }

  /** Compares the directory with the index: what differs, or seems gone, is looked at. */
  async #findChanges(): Promise<void> {
    const { directory, store, clock } = this.#options
    const begun = performance.now()
    this.#mustRescan = false
    this.#rescans += 1
    await scanDirectory({
      directory,
      store,
      isAsItIs: (known, stat) => this.#looks.isAsItIs(known, stat),
      onChanged: (name) => {
        this.#queue.add(name)
      },
      onGone: (id) => {
        const row = store.find(id)
        if (row !== undefined) this.#queue.add(Buffer.from(row.rawName).toString('latin1'))
      },
    })
    store.forgetUnusedNames(NAMES_A_RESCAN)
    this.#lastRescan = { at: clock.now(), millis: performance.now() - begun }
  }

  /** A few batches at a time, until nothing is left to look at. The reader is given its next ones before rows are saved. */
  async #lookAtAll(): Promise<void> {
    const { signal } = this.#stop
    const running = new Set<Promise<unknown>>()
    const landed: Landed[] = []
    const failures: unknown[] = []
    const save = () => {
      try {
        this.#land(landed.splice(0))
      } catch (error) {
        failures.push(error)
      }
    }
    const begin = () => {
      while (running.size < BATCHES_AHEAD) {
        const flights = this.#queue.take(BATCH)
        if (flights.length === 0) return
        const batch: Promise<unknown> = this.#lookAtBatch(flights, 'index', (each) => landed.push(each))
          .catch((error: unknown) => failures.push(error))
          .finally(() => running.delete(batch))
        running.add(batch)
      }
    }
    const saving = setInterval(save, SAVE_EVERY_MS)
    while (!signal.aborted && failures.length === 0) {
      begin()
      if (landed.length >= ROWS_AT_ONCE || running.size === 0) save()
      // What was found may ask for another look.
      if (running.size === 0) begin()
      if (running.size === 0 && this.#queue.isEmpty) break
      await this.#unlessStopped(running.size > 0 ? Promise.race(running) : this.#queue.endOfAny())
      await nextTurn()
    }
    await this.#unlessStopped(Promise.all(running))
    clearInterval(saving)
    save()
    if (failures.length > 0) throw failures[0]
  }

  async #lookAtWanted(name: string): Promise<void> {
    for (let looks = 0; looks < LOOKS_AT_REPLACED; looks += 1) {
      while (this.#queue.isBeingWaitedFor(name) && !this.#stop.signal.aborted) {
        await this.#unlessStopped(this.#queue.endOfWanted(name))
      }
      this.#wanted.delete(name)
      if (this.#stop.signal.aborted) return
      try {
        const landed: Landed[] = []
        const flight = this.#queue.begin(name)
        await this.#unlessStopped(this.#lookAtBatch([flight], 'callers', (each) => landed.push(each)))
        this.#land(landed)
      } catch (error) {
        this.#options.logger.error({ error: errorText(error) }, 'Cannot bring the inventory up to date')
        this.#recheck(Buffer.from(name, 'latin1'), FAILED_AGAIN_MS)
        return
      }
      if (!this.#queue.isReplaced(name)) break
    }
    if (!this.#queue.isEmpty) this.#wake(0)
    if (this.#work === undefined) this.#digests.startWaiting()
  }

  /** Examines the files and has them read. One that cannot be is looked at again later, if the look failed as a whole. */
  async #lookAtBatch(flights: readonly Flight[], lane: ReaderLane, onLanded: (landed: Landed) => void): Promise<void> {
    const underWay = new Map(flights.map((flight) => [flight.name, flight]))
    const land = (finding: Finding) => {
      const flight = underWay.get(finding.name)
      if (underWay.delete(finding.name) && flight !== undefined) onLanded({ finding, flight })
    }
    try {
      const unread: UnreadFile[] = []
      for (const { name } of flights) {
        const finding = this.#looks.examine(name)
        if (finding?.kind === 'unread') unread.push(finding)
        else if (finding !== undefined) land(finding)
      }
      await this.#looks.read(unread, lane, land)
    } catch (error) {
      for (const name of underWay.keys()) this.#queue.add(name)
      throw error
    } finally {
      for (const flight of underWay.values()) this.#queue.end(flight)
    }
  }

  /** Makes rows of what was found, all or none. */
  #land(landed: readonly Landed[]): void {
    try {
      if (!this.#stop.signal.aborted && landed.length > 0) this.#save(landed)
    } catch (error) {
      for (const { flight } of landed) this.#queue.add(flight.name)
      throw error
    } finally {
      for (const { flight } of landed) this.#queue.end(flight)
    }
  }

  #save(landed: readonly Landed[]): void {
    const { store } = this.#options
    const changes: { readonly checkpoint: Checkpoint; readonly before: Checkpoint | undefined }[] = []
    const gone: string[] = []
    for (const { finding, flight } of landed) {
      const { name, id, isKnown } = finding
      if (!this.#queue.counts(flight) || this.#mustLookAgain(finding, flight)) continue
      // Only a look makes a row, and one look at a file counts at a time; all else may happen to the row meanwhile.
      const before = isKnown ? store.find(id) : undefined
      const checkpoint = this.#looks.toRow(finding, before)
      if (checkpoint === undefined) {
        if (before !== undefined) gone.push(id)
        continue
      }
      if (checkpoint !== before) changes.push({ checkpoint, before })
      else if (checkpoint.state === 'hashing') this.#digests.add(checkpoint)
      if (!SETTLED.has(checkpoint.state)) this.#queue.rest(name)
    }
    store.saveAll(changes.map(({ checkpoint }) => checkpoint))
    for (const { checkpoint, before } of changes) {
      this.events.emit(before === undefined ? 'added' : 'changed', checkpoint)
      if (checkpoint.state === 'hashing') this.#digests.add(checkpoint)
    }
    if (gone.length > 0) this.forget(gone.flatMap((id) => store.findFile(id) ?? []))
  }

  /** What was found is of a file that is another one by now, or says nothing about it. */
  #mustLookAgain(finding: Finding, flight: Flight): boolean {
    const { name, id } = finding
    if (flight.isStale) {
      this.#queue.add(name)
      return true
    }
    if (finding.kind !== 'read') return false
    const { outcome } = finding
    if (outcome.kind === 'changed') {
      this.#queue.addReplaced(name)
      return true
    }
    this.#queue.settleReplaced(name)
    if (outcome.kind !== 'unreadable' || !PASSING.has(outcome.code)) return false
    this.#options.logger.error({ id, error: outcome.code }, 'Cannot read an archive')
    this.#recheck(Buffer.from(name, 'latin1'), FAILED_AGAIN_MS)
    return true
  }

  #recheck(rawName: Uint8Array, afterMs: number): void {
    const timer = setTimeout(
      () => {
        this.touch(rawName)
      },
      Math.max(afterMs, GATHER_MS),
    )
    timer.unref()
  }

  async #unlessStopped(work: Promise<unknown>): Promise<void> {
    const { signal } = this.#stop
    const { promise: stopped, resolve } = Promise.withResolvers<undefined>()
    const onStop = () => {
      resolve(undefined)
    }
    if (signal.aborted) onStop()
    signal.addEventListener('abort', onStop)
    await Promise.race([work, stopped]).finally(() => {
      signal.removeEventListener('abort', onStop)
    })
  }
}
