import { lstatSync, type BigIntStats } from 'node:fs'
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises'
import type { ContainerIdentity } from '../checkpoint/identity.ts'
import type { Checkpoint, CheckpointState } from '../checkpoint/checkpoint.ts'
import { checkpointId } from '../checkpoint/checkpoint-id.ts'
import { errorText } from '../shared/errors.ts'
import type { Clock } from '../shared/clock.ts'
import type { Logger } from '../shared/logger.ts'
import type { CheckpointFile, CheckpointStore, KnownFile } from '../store/checkpoint-store.ts'
import type { JobStore } from '../store/job-store.ts'
import { ArchiveDigests } from './archive-digests.ts'
import { isArchiveName, lookAtArchive, pathOf, type ArchiveLook } from './archive-file.ts'
import { hasProblem, isAsSeen, isPrivate, tellsTheSame, withPin } from './archive-row.ts'
import { scanDirectory } from './directory-scan.ts'
import type { CaptureFacts } from './custody/capture-facts.ts'
import { DirectoryWatcher } from './directory-watcher.ts'
import { generationOf, inodeOf } from './file-generation.ts'
import { NodeEvents } from './node-events.ts'
import type { PermissionRepair, PermissionsPolicy } from './permissions.ts'
import { readPin } from './pins.ts'
import { RestingFiles } from './resting-files.ts'
import { SettlingFiles } from './settling.ts'

interface CapturedFile {
  readonly checkpointId: string
  readonly inode: number
  readonly sizeBytes: number
}

export interface InventoryOptions {
  readonly directory: string
  readonly store: CheckpointStore
  readonly jobs: JobStore
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

const SETTLE_MS = 1_000
/** Events of one file come in bursts; this much later they are one. */
const GATHER_MS = 20
/** So many files are read or forgotten in one go, before others get their turn. */
const SLICE = 64
/** So many become rows in one go: a transaction for each slice would cost as much as the rows. */
const BATCH = 256
/** Some milliseconds. */
const NAMES_A_RESCAN = 1_000

/**
 * Knows every archive of the directory, whoever wrote it. Events say where to look, a rescan now and then is the truth
 * behind them, and the index holds what was found: it can be deleted at any time.
 */
export class Inventory {
  readonly events: NodeEvents
  readonly #options: InventoryOptions
  readonly #settling: SettlingFiles
  #watcher: DirectoryWatcher | undefined
  readonly #digests: ArchiveDigests
  readonly #stop = new AbortController()
  /** Names to look at, by their bytes as latin1 text. */
  readonly #dirty = new Set<string>()
  readonly #resting = new RestingFiles((name) => {
    this.touch(Buffer.from(name, 'latin1'))
  })
  /** Read again since they were touched, by id: the time of change they had then. */
  readonly #readAgain = new Map<string, bigint>()
  /** By id: somebody else sees to these. */
  readonly #setAside = new Set<string>()
  /** Who waits for a look at a file. */
  readonly #awaited = new Map<string, readonly (() => void)[]>()
  #work: Promise<void> | undefined
  #mustRescan = true
  #rescans = 0
  #lastRescan: { readonly at: Date; readonly millis: number } | undefined
  #loop: Promise<void> | undefined

  constructor(options: InventoryOptions) {
    this.#options = options
    this.events = options.events ?? new NodeEvents()
    this.#settling = new SettlingFiles(options.settleMs ?? SETTLE_MS)
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
  }

  /** Why events do not come; the rescan still finds everything. */
  get watchTrouble(): string | undefined {
    return this.#watcher?.trouble
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
    this.#loop = this.#rescanForEver()
  }

  async stop(): Promise<void> {
    this.#stop.abort()
    await Promise.all([this.#digests.close(), this.#watcher?.close(), this.#loop])
    await this.#work
  }

  /** Looks at this file soon. */
  touch(rawName: Uint8Array): void {
    this.#dirty.add(Buffer.from(rawName).toString('latin1'))
    this.#wake(0)
  }

  /** Looks at this file before any other, and resolves when its row is as the file is. */
  async lookAt(rawName: Uint8Array): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    const name = Buffer.from(rawName).toString('latin1')
    this.#awaited.set(name, [...(this.#awaited.get(name) ?? []), resolve])
    this.touch(rawName)
    await promise
  }

  /** These very files are gone for certain; what has taken the name of one since keeps its row. */
  forget(removed: readonly CheckpointFile[]): void {
    // Who looked at a file while it went is not to tell of it a second time.
    for (const { id, namespace } of this.#options.store.removeAll(removed)) {
      this.#settling.forget(id)
      this.#readAgain.delete(id)
      // Only who could see it is told that it is gone.
      this.events.emitRemoved(id, namespace)
    }
  }

  /** What happens to these files is not looked at until they are let go: who removes them tells how that ended. */
  setAside(ids: readonly string[]): void {
    for (const id of ids) this.#setAside.add(id)
  }

  letGo(ids: readonly string[]): void {
    for (const id of ids) this.#setAside.delete(id)
  }

  /** Reads the whole directory and resolves when everything found has its row. */
  async rescan(): Promise<void> {
    this.#mustRescan = true
    this.#wake(0)
    while (this.#work !== undefined) await this.#work
  }

  #touchEvent(name: Buffer): void {
    const archive = name.toString('latin1').replace(/\.keep(?:\.tmp)?$/, '')
    const rawName = Buffer.from(archive, 'latin1')
    if (!isArchiveName(rawName)) return
    if (this.#setAside.size > 0 && this.#setAside.has(checkpointId(rawName))) return
    if (!this.#resting.noteChange(archive)) this.#dirty.add(archive)
  }

  #wake(afterMs: number): void {
    if (this.#stop.signal.aborted) return
    this.#work ??= this.#run(afterMs).finally(() => {
      this.#work = undefined
      if (this.#dirty.size > 0 || this.#mustRescan) this.#wake(GATHER_MS)
    })
  }

  async #run(afterMs: number): Promise<void> {
    const { signal } = this.#stop
    if (afterMs > 0) await sleep(afterMs, undefined, { signal, ref: false }).catch(() => undefined)
    try {
      if (this.#mustRescan) await this.#findChanges()
      while (this.#dirty.size > 0 && !signal.aborted) {
        await this.#lookAtBatch()
        await nextTurn()
      }
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
      isAsItIs: (known, stat) => this.#isAsItIs(known, stat),
      onChanged: (name) => {
        this.#dirty.add(name)
      },
      onGone: (id) => {
        const row = store.find(id)
        if (row !== undefined) this.#dirty.add(Buffer.from(row.rawName).toString('latin1'))
      },
    })
    store.forgetUnusedNames(NAMES_A_RESCAN)
    this.#lastRescan = { at: clock.now(), millis: performance.now() - begun }
  }

  async #lookAtBatch(): Promise<void> {
    const batch = this.#takeBatch()
    const awaited = batch.flatMap(([name]) => this.#awaited.get(name) ?? [])
    for (const [name] of batch) this.#awaited.delete(name)
    const found: { readonly checkpoint: Checkpoint; readonly before: Checkpoint | undefined }[] = []
    const gone: string[] = []
    for (const [index, [name, rawName]] of batch.entries()) {
      if (index % SLICE === SLICE - 1) await nextTurn()
      const id = checkpointId(rawName)
      const before = this.#options.store.find(id)
      const checkpoint = await this.#look(rawName, before).catch((error: unknown) => {
        this.#options.logger.error({ id, error: errorText(error) }, 'Cannot read an archive')
        return before
      })
      if (checkpoint !== undefined) {
        if (checkpoint !== before) found.push({ checkpoint, before })
        if (!SETTLED.has(checkpoint.state)) this.#rest(name)
        if (checkpoint === before && checkpoint.state === 'hashing') this.#digests.add(checkpoint)
      } else if (before !== undefined) gone.push(id)
    }
    this.#options.store.saveAll(found.map(({ checkpoint }) => checkpoint))
    for (const { checkpoint, before } of found) {
      this.events.emit(before === undefined ? 'added' : 'changed', checkpoint)
      if (checkpoint.state === 'hashing') this.#digests.add(checkpoint)
    }
    await this.#forget(gone)
    for (const resolve of awaited) resolve()
  }

  /** Those that somebody waits for come first. */
  #takeBatch(): readonly (readonly [string, Buffer])[] {
    const batch: (readonly [string, Buffer])[] = []
    const take = (name: string) => {
      if (this.#dirty.delete(name)) batch.push([name, Buffer.from(name, 'latin1')])
    }
    for (const name of this.#awaited.keys()) take(name)
    for (const name of this.#dirty.keys()) {
      if (batch.length >= BATCH) break
      take(name)
    }
    return batch
  }

  /** Leaves the file alone for a while; what has happened during the look counts as having happened since. */
  #rest(name: string): void {
    const hasChanged = this.#dirty.has(name)
    // Who waits for it does not wait for that.
    if (!this.#awaited.has(name)) this.#dirty.delete(name)
    this.#resting.rest(name, hasChanged)
  }

  /** The row as it should be now; the one that was there when nothing has changed; undefined for what is no archive. */
  async #look(rawName: Buffer, before: Checkpoint | undefined): Promise<Checkpoint | undefined> {
    const { directory, clock, permissions } = this.#options
    const path = pathOf(directory, rawName)
    const stat = lstatSync(path, { bigint: true, throwIfNoEntry: false })
    if (stat?.isFile() !== true) return undefined
    const pin = readPin(path)
    const isPinSame = before !== undefined && JSON.stringify(pin) === JSON.stringify(before.pin)
    if (before?.generation === generationOf(stat) && this.#isFinal(before, stat)) {
      if (this.#isTouched(before, stat)) this.#compareAgain(before, stat)
      return this.#observed(isPinSame ? before : withPin(before, pin))
    }
    const look = await lookAtArchive(rawName, { directory, permissions, now: clock.now() })
    if (look === undefined) return undefined
    if (look.repair !== undefined) {
      const { id, fileName } = look.checkpoint
      this.#options.onRepair?.({ what: 'archive', path: fileName, checkpointId: id, ...look.repair })
    }
    // Who links an archive into place removes the other name next, and of that no event tells.
    if (look.stat.nlink > 1n) this.#lookAgain(rawName, SETTLE_MS)
    const found = this.#judge(look, before)
    const isSameGeneration = before?.generation === found.generation
    if (isSameGeneration && isPinSame && tellsTheSame(before, found)) return this.#observed(before)
    const isSameFile = before !== undefined && inodeOf(before.generation) === inodeOf(found.generation)
    return withPin(this.#observed(isSameFile ? { ...found, discoveredAt: before.discoveredAt } : found), pin)
  }

  /** With its state. Whole and the same bytes as before: what was found out about those stays. */
  #judge(look: ArchiveLook, before: Checkpoint | undefined): Checkpoint {
    const { checkpoint, end } = look
    if (end === 'whole' && before?.generation === checkpoint.generation && WHOLE.has(before.state)) {
      const { state, sha256 } = before
      return { ...checkpoint, state, ...(sha256 !== undefined && { sha256 }) }
    }
    const { state, lookAgainMs } = this.#settling.judge(look)
    if (lookAgainMs !== undefined) this.#lookAgain(checkpoint.rawName, lookAgainMs)
    return { ...checkpoint, state }
  }

  /** Whether a look at the file of this generation would show nothing new. */
  #isFinal(row: Checkpoint, stat: BigIntStats): boolean {
    return SETTLED.has(row.state) && !this.#isWorthATry(row) && isAsSeen(row, stat)
  }

  /** The same for the rescan, which knows less of a row and has many of them. */
  #isAsItIs(known: KnownFile, stat: BigIntStats): boolean {
    if (!SETTLED.has(known.state)) return false
    if (known.state === 'hashing' && !this.#digests.isExpected(known)) return false
    if (this.#isTouched(known, stat)) return false
    if (known.state !== 'damaged' && !known.isDoubtful && isPrivate(stat)) return true
    const row = this.#options.store.find(known.id)
    return row !== undefined && this.#isFinal(row, stat)
  }

  /**
   * Something was done to the file after its digest was put on record. A generation does not tell: the time of writing can
   * be set back, the time of change cannot.
   */
  #isTouched({ id, state }: Pick<Checkpoint, 'id' | 'state'>, { ctimeMs, ctimeNs }: BigIntStats): boolean {
    if (state !== 'ready') return false
    const digestAt = this.#options.findDigestTime?.(id)
    return digestAt !== undefined && Number(ctimeMs) > digestAt && this.#readAgain.get(id) !== ctimeNs
  }

  /** Most likely its rights were changed; with other bytes it is looked at as a new one. */
  #compareAgain(checkpoint: Checkpoint, { ctimeNs }: BigIntStats): void {
    this.#readAgain.set(checkpoint.id, ctimeNs)
    this.#digests.compare(checkpoint, () => {
      const { store } = this.#options
      const row = store.find(checkpoint.id)
      if (row?.generation !== checkpoint.generation) return
      const { sha256: _, ...rest } = row
      store.saveAll([{ ...rest, state: 'discovered' }])
      this.touch(row.rawName)
    })
  }

  /**
   * Somebody may let us read the file by now, which changes nothing that a generation is made of. What could not be read
   * to its end gets another try when the reason may have passed, and at the next start.
   */
  #isWorthATry(checkpoint: Checkpoint): boolean {
    if (hasProblem(checkpoint, 'NotReadable')) return true
    return hasProblem(checkpoint, 'ReadFailed') && !this.#digests.hasFailed(checkpoint)
  }

  #lookAgain(rawName: Uint8Array, afterMs: number): void {
    const timer = setTimeout(
      () => {
        this.touch(rawName)
      },
      Math.max(afterMs, GATHER_MS),
    )
    timer.unref()
  }

  /** Our own captures: whose they are was seen, not read. The file may be found before its capture is on record. */
  #observed(checkpoint: Checkpoint): Checkpoint {
    const { id, generation, sizeBytes, identity } = checkpoint
    const { jobs, findObservedCapture } = this.#options
    if (identity.source === 'observed') return checkpoint
    const file = { checkpointId: id, inode: Number(inodeOf(generation)), sizeBytes }
    const capture = jobs.hasCaptures() ? jobs.findCaptureOf(file) : undefined
    if (capture?.archive !== undefined) {
      const dump = capture.phases.find(({ name }) => name === 'dump')
      return asObserved(withDumpTime(checkpoint, dump?.millis), { ...capture, takenAt: capture.archive.takenAt })
    }
    const facts = findObservedCapture?.(file)
    return facts === undefined ? checkpoint : asObserved(checkpoint, { ...facts, takenAt: new Date(facts.takenAt) })
  }

  async #forget(ids: readonly string[]): Promise<void> {
    const { store } = this.#options
    for (let at = 0; at < ids.length; at += SLICE) {
      if (at > 0) await nextTurn()
      this.forget(ids.slice(at, at + SLICE).flatMap((id) => store.findFile(id) ?? []))
    }
  }

  async #rescanForEver(): Promise<void> {
    const { signal } = this.#stop
    while (!signal.aborted) {
      this.#watcher?.retry()
      this.#mustRescan = true
      this.#wake(0)
      await sleep(this.#options.rescanMs, undefined, { signal, ref: false }).catch(() => undefined)
    }
  }
}

/** Nothing more is expected of these until the file changes. */
const SETTLED: ReadonlySet<CheckpointState> = new Set(['hashing', 'ready', 'damaged'])

const WHOLE: ReadonlySet<CheckpointState> = new Set(['hashing', 'ready'])

/** Of our own dumps it is known how long the runtime took: CRIU's statistics tell a part of it only. */
function withDumpTime(checkpoint: Checkpoint, dumpMillis: number | undefined): Checkpoint {
  return dumpMillis === undefined ? checkpoint : { ...checkpoint, summary: { ...checkpoint.summary, dumpMillis } }
}

function asObserved(
  checkpoint: Checkpoint,
  capture: {
    readonly identity: ContainerIdentity
    readonly takenAt: Date
    readonly reason?: string | undefined
  },
): Checkpoint {
  const { identity, takenAt, reason } = capture
  return {
    ...checkpoint,
    ...(reason !== undefined && { reason }),
    identity: { ...identity, source: 'observed', isBelieved: true },
    takenAt: { text: takenAt.toISOString(), millis: takenAt.getTime() },
  }
}
