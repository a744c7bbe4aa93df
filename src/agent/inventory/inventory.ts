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
  /** Reader that reads the content of archives in other processes. */
  readonly reader: Pick<ArchiveReader, 'summarize' | 'summarizeAll'>
  readonly permissions: PermissionsPolicy
  readonly onRepair?: (repair: PermissionRepair) => void
  /** Finds the recorded facts about the capture that created this file if the index has lost them. */
  readonly findObservedCapture?: (file: CapturedFile) => CaptureFacts | undefined
  /** Returns the time at which the digest of an archive was recorded, in milliseconds. */
  readonly findDigestTime?: (id: string) => number | undefined
  readonly rescanMs: number
  /** Receives the events. Defaults to a new instance. */
  readonly events?: NodeEvents
  readonly clock: Clock
  readonly logger: Logger
  /** Time that a whole file must stay unchanged before it counts as finished. */
  readonly settleMs?: number
}

interface Landed {
  readonly finding: Finding
  readonly flight: Flight
}

const SETTLE_MS = 1_000
/** Time in which events of one file are combined, since they come in bursts. */
const GATHER_MS = 20
/** Files passed to the reader at once. */
const BATCH = 32
/** Batches under way at once, so that the reader works while finished rows are saved. */
const BATCHES_AHEAD = 4
/** Rows saved in one transaction. A transaction for each batch would cost as much as the rows. */
const ROWS_AT_ONCE = 128
/** Interval at which results are saved even if other files take longer. */
const SAVE_EVERY_MS = 200
/** Delay before a failed refresh is repeated. */
const FAILED_AGAIN_MS = 1_000
/** Errors that say nothing about the file and may soon be over. */
const PASSING: ReadonlySet<string> = new Set(['EAGAIN', 'EINTR', 'EMFILE', 'ENFILE', 'ENOMEM'])
/** Maximum number of refreshes for a waiting caller if the file is replaced repeatedly. */
const LOOKS_AT_REPLACED = 3
/** Names pruned per rescan; takes a few milliseconds. */
const NAMES_A_RESCAN = 1_000

/**
 * Tracks every archive of the directory, whatever program wrote it. Events show which files to refresh, and a periodic
 * rescan finds missed changes. The index stores the results and can be deleted at any time.
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
  /** IDs of archives whose changes are handled by another component. */
  readonly #exclude = new Set<string>()
  /** Refreshes that callers wait for and that have not begun, by name. */
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

  /** Reason why no events are delivered. The rescan still finds every change. */
  get watchError(): string | undefined {
    return this.#watcher?.error
  }

  /** Number of full scans of the directory. */
  get rescans(): number {
    return this.#rescans
  }

  /** Number of archives without a digest, including the one being hashed. */
  get hashQueueLength(): number {
    return this.#digests.length
  }

  get lastRescan(): { readonly at: Date; readonly millis: number } | undefined {
    return this.#lastRescan
  }

  /**
   * Starts the watch and the rescans. Until then no file is refreshed without a request, because the custody log may
   * not have been read.
   */
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

  /** Stops without waiting for the reader, whose later answers are ignored. */
  async stop(): Promise<void> {
    this.#stop.abort()
    await Promise.all([this.#digests.close(), this.#watcher?.close(), this.#loop.stop()])
    await this.#work
  }

  /** Refreshes this file soon. */
  touch(rawName: Uint8Array): void {
    this.#queue.add(Buffer.from(rawName).toString('latin1'))
    this.#wake(0)
  }

  /** Refreshes this file before all others and resolves once its row is up to date. */
  async refresh(rawName: Uint8Array): Promise<void> {
    const name = Buffer.from(rawName).toString('latin1')
    // A refresh that has already begun may have seen an older state of the file, so this caller gets a new one.
    const wanted = this.#wanted.get(name) ?? this.#queue.endOfWanted(name).then(() => this.#lookAtWanted(name))
    this.#wanted.set(name, wanted)
    await wanted
  }

  /** Removes the rows of these files, which are known to be gone. A new file of the same name keeps its row. */
  forget(removed: readonly CheckpointFile[]): void {
    for (const { rawName } of removed) this.#queue.markStale(Buffer.from(rawName).toString('latin1'))
    // A refresh that ran during the removal must not report the file again.
    for (const { id, namespace } of this.#options.store.removeAll(removed)) {
      this.#looks.forget(id)
      // Only callers who could see the archive are told that it is gone.
      this.events.emitRemoved(id, namespace)
    }
  }

  /** Excludes these archives from scans until release() is called. The caller owns their removal. */
  exclude(ids: readonly string[]): void {
    for (const id of ids) this.#exclude.add(id)
  }

  release(ids: readonly string[]): void {
    for (const id of ids) this.#exclude.delete(id)
  }

  /** Reads the whole directory and resolves once all rows are up to date. */
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

  /** Compares the directory with the index and queues files that differ or seem to be gone. */
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

  /**
   * Refreshes queued files in several concurrent batches until the queue is empty. The reader gets its next batches
   * before rows are saved.
   */
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
      // Saved results may cause further refreshes.
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

  /** Examines and reads a batch of files. If the batch fails as a whole, its remaining files are queued again. */
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

  /** Saves the rows of these results, all or none. */
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
      // The row is read here because it may have changed during the refresh. Only one refresh of a file counts at a
      // time.
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

  /** Returns whether the result is outdated or says nothing about the file, and queues another refresh if so. */
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
