import { lstatSync } from 'node:fs'
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises'
import type { Checkpoint, CheckpointState } from '../checkpoint/checkpoint.ts'
import { checkpointId } from '../checkpoint/checkpoint-id.ts'
import { errorText } from '../shared/errors.ts'
import type { Clock } from '../shared/clock.ts'
import type { Logger } from '../shared/logger.ts'
import type { CheckpointStore } from '../store/checkpoint-store.ts'
import type { JobStore } from '../store/job-store.ts'
import { isArchiveName, lookAtArchive, pathOf } from './archive-file.ts'
import { scanDirectory } from './directory-scan.ts'
import { DirectoryWatcher } from './directory-watcher.ts'
import { generationOf, inodeOf } from './file-generation.ts'
import { HashQueue } from './hash-queue.ts'
import { NodeEvents } from './node-events.ts'
import type { PermissionRepair, PermissionsPolicy } from './permissions.ts'
import { readPin } from './pins.ts'
import { SettlingFiles } from './settling.ts'

export interface InventoryOptions {
  readonly directory: string
  readonly store: CheckpointStore
  readonly jobs: JobStore
  readonly permissions: PermissionsPolicy
  readonly onRepair?: (repair: PermissionRepair) => void
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
/** A file that is being written brings hundreds of events a second: it is looked at so often and no more. */
const REST_MS = 200
/** So many files are read in one go, before others get their turn. */
const SLICE = 64
/** So many become rows in one go: a transaction for each slice would cost as much as the rows. */
const BATCH = 256
/** Archives that are new wait for their digest until all are known, but no more of them than this. */
const HASHED_LATER = 2_000

/**
 * Knows every archive of the directory, whoever wrote it. Events say where to look, a rescan now and then is the truth
 * behind them, and the index holds what was found: it can be deleted at any time.
 */
export class Inventory {
  readonly events: NodeEvents
  readonly #options: InventoryOptions
  readonly #settling: SettlingFiles
  readonly #watcher: DirectoryWatcher
  readonly #hashes = new HashQueue()
  readonly #stop = new AbortController()
  /** Names to look at, by their bytes as latin1 text. */
  readonly #dirty = new Set<string>()
  /** Files found unfinished a moment ago, and whether anything has happened to them since. */
  readonly #resting = new Map<string, boolean>()
  readonly #hashing = new Set<string>()
  /** Known to be whole, and not yet handed over. */
  readonly #toHash: Checkpoint[] = []
  /** Files of this run that could not be read to their end. */
  readonly #failed = new Set<string>()
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
    this.#watcher = new DirectoryWatcher({
      directory: options.directory,
      logger: options.logger,
      onChange: (name) => {
        if (name === undefined) this.#mustRescan = true
        else this.#touchEvent(Buffer.from(name))
        this.#wake(GATHER_MS)
      },
    })
  }

  /** Why events do not come; the rescan still finds everything. */
  get watchTrouble(): string | undefined {
    return this.#watcher.trouble
  }

  /** How often the whole directory was read through. */
  get rescans(): number {
    return this.#rescans
  }

  /** Archives that wait for their digest, the one under way included. */
  get hashQueueLength(): number {
    return this.#toHash.length + this.#hashes.length
  }

  get lastRescan(): { readonly at: Date; readonly millis: number } | undefined {
    return this.#lastRescan
  }

  start(): void {
    for (const checkpoint of this.#options.store.listInState('hashing')) this.#hash(checkpoint)
    this.#loop = this.#rescanForEver()
  }

  async stop(): Promise<void> {
    this.#stop.abort()
    await Promise.all([this.#hashes.close(), this.#watcher.close(), this.#loop])
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
    if (this.#resting.has(archive)) this.#resting.set(archive, true)
    else this.#dirty.add(archive)
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
        if (this.#toHash.length >= HASHED_LATER) this.#startHashing()
        await nextTurn()
      }
      this.#startHashing()
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
    const { changed, gone } = await scanDirectory({
      directory,
      store,
      isSettled: ({ id, state }) => SETTLED.has(state) && (state !== 'damaged' || !this.#isWorthATry(store.find(id))),
    })
    for (const name of changed) this.#dirty.add(name)
    for (const id of gone) {
      const rawName = store.find(id)?.rawName
      if (rawName !== undefined) this.#dirty.add(Buffer.from(rawName).toString('latin1'))
    }
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
        if (!SETTLED.has(checkpoint.state)) this.#rest(name, rawName)
      } else if (before !== undefined) gone.push(id)
    }
    this.#options.store.saveAll(found.map(({ checkpoint }) => checkpoint))
    for (const { checkpoint, before } of found) {
      this.events.emit(before === undefined ? 'added' : 'changed', checkpoint)
      if (checkpoint.state === 'hashing') this.#toHash.push(checkpoint)
    }
    this.#forget(gone)
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
  #rest(name: string, rawName: Buffer): void {
    const isResting = this.#resting.has(name)
    const hasChanged = this.#dirty.has(name)
    // Who waits for it does not wait for that.
    if (!this.#awaited.has(name)) this.#dirty.delete(name)
    this.#resting.set(name, hasChanged)
    if (isResting) return
    const timer = setTimeout(() => {
      const mustLook = this.#resting.get(name) === true
      this.#resting.delete(name)
      if (mustLook) this.touch(rawName)
    }, REST_MS)
    timer.unref()
  }

  /** The row as it should be now; the one that was there when nothing has changed; undefined for what is no archive. */
  async #look(rawName: Buffer, before: Checkpoint | undefined): Promise<Checkpoint | undefined> {
    const { directory, clock, permissions } = this.#options
    const path = pathOf(directory, rawName)
    const pin = readPin(path)
    const isPinSame = before !== undefined && JSON.stringify(pin) === JSON.stringify(before.pin)
    if (before !== undefined) {
      const stat = lstatSync(path, { bigint: true, throwIfNoEntry: false })
      if (stat?.isFile() !== true) return undefined
      const isKnown = before.generation === generationOf(stat) && SETTLED.has(before.state)
      if (isKnown && !this.#isWorthATry(before)) return this.#observed(isPinSame ? before : withPin(before, pin))
    }
    const look = await lookAtArchive(rawName, { directory, permissions, now: clock.now() })
    if (look === undefined) return undefined
    if (look.repair !== undefined)
      this.#options.onRepair?.({ what: 'archive', path: look.checkpoint.fileName, ...look.repair })
    const { state, lookAgainMs } = this.#settling.judge(look)
    if (lookAgainMs !== undefined) this.#lookAgain(rawName, lookAgainMs)
    const isSameFile = before !== undefined && inodeOf(before.generation) === inodeOf(look.checkpoint.generation)
    const isSameState =
      isSameFile && before.generation === look.checkpoint.generation && before.state === state && isPinSame
    if (isSameState && hasProblem(before, 'NotReadable') === hasProblem(look.checkpoint, 'NotReadable'))
      return this.#observed(before)
    return withPin(
      this.#observed({
        ...look.checkpoint,
        state,
        discoveredAt: isSameFile ? before.discoveredAt : look.checkpoint.discoveredAt,
      }),
      pin,
    )
  }

  /**
   * Somebody may let us read the file by now, which changes nothing that a generation is made of. What could not be read
   * to its end gets another try at the next start: a disk that fails is not asked for gigabytes again and again.
   */
  #isWorthATry(checkpoint: Checkpoint | undefined): boolean {
    if (checkpoint === undefined || hasProblem(checkpoint, 'NotReadable')) return true
    return hasProblem(checkpoint, 'ReadFailed') && !this.#failed.has(fileKey(checkpoint))
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
    const { jobs } = this.#options
    if (identity.source === 'observed' || !jobs.hasCaptures()) return checkpoint
    const capture = jobs.findCaptureOf({
      checkpointId: id,
      inode: Number(inodeOf(generation)),
      sizeBytes,
    })
    if (capture?.archive === undefined) return checkpoint
    const { takenAt } = capture.archive
    return {
      ...checkpoint,
      identity: { ...capture.identity, source: 'observed', isBelieved: true },
      takenAt: { text: takenAt.toISOString(), millis: takenAt.getTime() },
    }
  }

  #startHashing(): void {
    for (const checkpoint of this.#toHash.splice(0)) this.#hash(checkpoint)
  }

  #hash(checkpoint: Checkpoint): void {
    if (this.#hashing.has(fileKey(checkpoint))) return
    this.#hashing.add(fileKey(checkpoint))
    void this.#hashToEnd(checkpoint)
  }

  async #hashToEnd(checkpoint: Checkpoint): Promise<void> {
    const { id, rawName, generation } = checkpoint
    const { directory, store, logger } = this.#options
    const answer = await this.#hashes.hash({ path: pathOf(directory, rawName), generation })
    this.#hashing.delete(fileKey(checkpoint))
    if (answer.kind === 'done') {
      if (store.setHash(id, generation, answer.sha256)) this.events.emit('changed', store.get(id))
    } else if (answer.kind === 'failed') {
      logger.error({ id, code: answer.code }, 'Cannot read an archive to its end')
      this.#failed.add(fileKey(checkpoint))
      const row = store.find(id)
      if (row?.generation === generation) this.#save(withReadFailure(row, answer.code))
    } else if (answer.kind === 'changed') {
      this.touch(rawName)
    }
  }

  #save(checkpoint: Checkpoint): void {
    this.#options.store.saveAll([checkpoint])
    this.events.emit('changed', checkpoint)
  }

  #forget(ids: readonly string[]): void {
    if (ids.length === 0) return
    this.#options.store.removeAll(ids)
    for (const id of ids) {
      this.#settling.forget(id)
      this.events.emitRemoved(id)
    }
  }

  async #rescanForEver(): Promise<void> {
    const { signal } = this.#stop
    while (!signal.aborted) {
      this.#watcher.retry()
      this.#mustRescan = true
      this.#wake(0)
      await sleep(this.#options.rescanMs, undefined, { signal, ref: false }).catch(() => undefined)
    }
  }
}

/** Nothing more is expected of these until the file changes. */
const SETTLED: ReadonlySet<CheckpointState> = new Set(['hashing', 'ready', 'damaged'])

function fileKey({ id, generation }: Checkpoint): string {
  return `${id} ${generation}`
}

function hasProblem({ problems }: Checkpoint, code: string): boolean {
  return problems.some((problem) => problem.code === code)
}

function withPin(checkpoint: Checkpoint, pin: Checkpoint['pin']): Checkpoint {
  const { pin: _, ...unpinned } = checkpoint
  return pin === undefined ? unpinned : { ...unpinned, pin }
}

function withReadFailure(checkpoint: Checkpoint, code: string): Checkpoint {
  const problem = {
    code: 'ReadFailed',
    weight: 'damage',
    detail: `the file cannot be read to its end (${code})`,
  } as const
  return { ...checkpoint, state: 'damaged', problems: [...checkpoint.problems, problem] }
}
