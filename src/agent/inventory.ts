import { lstatSync, readdirSync } from 'node:fs'
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises'
import type { Checkpoint, CheckpointState } from '../checkpoint/checkpoint.ts'
import { checkpointId } from '../checkpoint/checkpoint-id.ts'
import { errorText, isSystemError } from '../shared/errors.ts'
import type { Clock } from '../shared/clock.ts'
import type { Logger } from '../shared/logger.ts'
import type { CheckpointStore } from '../store/checkpoint-store.ts'
import type { JobStore } from '../store/job-store.ts'
import { isArchiveName, lookAtArchive, pathOf, type ArchiveLook } from './archive-file.ts'
import { DirectoryWatcher } from './directory-watcher.ts'
import { generationOf, inodeOf } from './file-generation.ts'
import { HashQueue } from './hash-queue.ts'
import { NodeEvents } from './node-events.ts'
import { readPin } from './pins.ts'

export interface InventoryOptions {
  readonly directory: string
  readonly store: CheckpointStore
  readonly jobs: JobStore
  readonly permissions: 'enforce' | 'report'
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
/** So many files are read and written into the index in one go, before others get their turn. */
const BATCH = 64

/**
 * Knows every archive of the directory, whoever wrote it. Events say where to look, a rescan now and then is the truth
 * behind them, and the index holds what was found: it can be deleted at any time.
 */
export class Inventory {
  readonly events: NodeEvents
  readonly #options: InventoryOptions
  readonly #settleMs: number
  readonly #watcher: DirectoryWatcher
  readonly #hashes = new HashQueue()
  readonly #stop = new AbortController()
  /** Names to look at, by their bytes as latin1 text. */
  readonly #dirty = new Map<string, Buffer>()
  /** Files found unfinished a moment ago, and whether anything has happened to them since. */
  readonly #resting = new Map<string, boolean>()
  /** Generations seen whole but perhaps still being written, and since when. */
  readonly #unsettled = new Map<string, { readonly generation: string; readonly since: number }>()
  readonly #hashing = new Set<string>()
  #work: Promise<void> | undefined
  #mustRescan = true
  #rescans = 0
  #lastRescan: { readonly at: Date; readonly millis: number } | undefined
  #loop: Promise<void> | undefined

  constructor(options: InventoryOptions) {
    this.#options = options
    this.events = options.events ?? new NodeEvents()
    this.#settleMs = options.settleMs ?? SETTLE_MS
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
    return this.#hashes.length
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
    this.#dirty.set(Buffer.from(rawName).toString('latin1'), Buffer.from(rawName))
    this.#wake(0)
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
    else this.#dirty.set(archive, rawName)
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
    } catch (error) {
      this.#options.logger.error({ error: errorText(error) }, 'Cannot bring the inventory up to date')
      await sleep(1_000, undefined, { signal, ref: false }).catch(() => undefined)
    }
  }

  /** Compares the directory with the index: what differs is looked at, what is gone is forgotten. */
  async #findChanges(): Promise<void> {
    const { directory, store, clock } = this.#options
    const begun = performance.now()
    this.#mustRescan = false
    this.#rescans += 1
    const known = store.listKnown()
    const names = readNames(directory)
    const pinned = new Set(names.filter(isMarker).map((name) => name.toString('latin1').slice(0, -'.keep'.length)))
    for (const [index, rawName] of names.entries()) {
      if (index % 500 === 499) await nextTurn()
      if (!isArchiveName(rawName)) continue
      const id = checkpointId(rawName)
      const row = known.get(id)
      known.delete(id)
      const name = rawName.toString('latin1')
      if (row === undefined || row.isPinned !== pinned.has(name)) {
        this.#dirty.set(name, rawName)
        continue
      }
      const stat = lstatSync(pathOf(directory, rawName), { bigint: true, throwIfNoEntry: false })
      const isSame = stat !== undefined && stat.isFile() && generationOf(stat) === row.generation
      if (!isSame || !SETTLED.has(row.state)) this.#dirty.set(name, rawName)
    }
    this.#forget([...known.keys()])
    this.#lastRescan = { at: clock.now(), millis: performance.now() - begun }
  }

  async #lookAtBatch(): Promise<void> {
    const batch = [...this.#dirty].slice(0, BATCH)
    for (const [name] of batch) this.#dirty.delete(name)
    const found: { readonly checkpoint: Checkpoint; readonly before: Checkpoint | undefined }[] = []
    const gone: string[] = []
    for (const [name, rawName] of batch) {
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
      if (checkpoint.state === 'hashing') this.#hash(checkpoint)
    }
    this.#forget(gone)
  }

  /** Leaves the file alone for a while; what has happened during the look counts as having happened since. */
  #rest(name: string, rawName: Buffer): void {
    const isResting = this.#resting.has(name)
    this.#resting.set(name, this.#dirty.delete(name))
    if (isResting) return
    const timer = setTimeout(() => {
      const hasChanged = this.#resting.get(name) === true
      this.#resting.delete(name)
      if (hasChanged) this.touch(rawName)
    }, REST_MS)
    timer.unref()
  }

  /** The row as it should be now; the one that was there when nothing has changed; undefined for what is no archive. */
  async #look(rawName: Buffer, before: Checkpoint | undefined): Promise<Checkpoint | undefined> {
    const { directory, clock, permissions } = this.#options
    const path = pathOf(directory, rawName)
    const stat = lstatSync(path, { bigint: true, throwIfNoEntry: false })
    if (stat?.isFile() !== true) return undefined
    const pin = readPin(path)
    const isPinSame = JSON.stringify(pin) === JSON.stringify(before?.pin)
    if (before !== undefined && before.generation === generationOf(stat) && SETTLED.has(before.state)) {
      return isPinSame ? before : withPin(before, pin)
    }
    const look = await lookAtArchive(rawName, { directory, permissions, now: clock.now() })
    if (look === undefined) return undefined
    const state = this.#judge(look)
    const isSameFile = before !== undefined && inodeOf(before.generation) === inodeOf(look.checkpoint.generation)
    if (isSameFile && before.generation === look.checkpoint.generation && before.state === state && isPinSame)
      return before
    return withPin(
      this.#observed({
        ...look.checkpoint,
        state,
        discoveredAt: isSameFile ? before.discoveredAt : look.checkpoint.discoveredAt,
      }),
      pin,
    )
  }

  /** Whole and left alone for a while is finished; so is what was renamed, linked or closed off after its last write. */
  #judge({ end, checkpoint, stat }: ArchiveLook): CheckpointState {
    const { id, generation } = checkpoint
    const now = performance.now()
    const first = this.#unsettled.get(id)
    const since = first?.generation === generation ? first.since : now
    const isOld = Date.now() - Number(stat.mtimeMs) > this.#settleMs
    const isQuiet = isOld || stat.ctimeNs > stat.mtimeNs || now - since >= this.#settleMs
    if (end !== 'incomplete' && isQuiet) {
      this.#unsettled.delete(id)
      return end === 'whole' ? 'hashing' : 'damaged'
    }
    this.#unsettled.set(id, { generation, since })
    if (!isQuiet || end !== 'incomplete') this.#lookAgain(checkpoint.rawName, this.#settleMs - (now - since) + 10)
    return end === 'incomplete' ? 'incomplete' : 'discovered'
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

  /** Our own captures: whose they are was seen, not read. */
  #observed(checkpoint: Checkpoint): Checkpoint {
    const { id, generation, sizeBytes } = checkpoint
    const capture = this.#options.jobs.findCaptureOf({
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

  #hash(checkpoint: Checkpoint): void {
    const { id, generation } = checkpoint
    if (this.#hashing.has(`${id} ${generation}`)) return
    this.#hashing.add(`${id} ${generation}`)
    void this.#hashToEnd(checkpoint)
  }

  async #hashToEnd({ id, rawName, generation }: Checkpoint): Promise<void> {
    const { directory, store, logger } = this.#options
    const answer = await this.#hashes.hash({ path: pathOf(directory, rawName), generation })
    this.#hashing.delete(`${id} ${generation}`)
    if (answer.kind === 'done') {
      if (store.setHash(id, generation, answer.sha256)) this.events.emit('changed', store.get(id))
    } else if (answer.kind === 'failed') {
      logger.error({ id, code: answer.code }, 'Cannot read an archive to its end')
      const row = store.find(id)
      if (row?.generation === generation) this.#save(unreadable(row, answer.code))
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
      this.#unsettled.delete(id)
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

function readNames(directory: string): Buffer[] {
  try {
    return readdirSync(directory, { encoding: 'buffer' })
  } catch (error) {
    if (isSystemError(error, 'ENOENT')) return []
    throw error
  }
}

function isMarker(name: Buffer): boolean {
  return name.subarray(-9).equals(MARKER)
}

const MARKER = Buffer.from('.tar.keep')

function withPin(checkpoint: Checkpoint, pin: Checkpoint['pin']): Checkpoint {
  const { pin: _, ...unpinned } = checkpoint
  return pin === undefined ? unpinned : { ...unpinned, pin }
}

function unreadable(checkpoint: Checkpoint, code: string): Checkpoint {
  const problem = {
    code: 'NotReadable',
    weight: 'damage',
    detail: `the file cannot be read to its end (${code})`,
  } as const
  return { ...checkpoint, state: 'damaged', problems: [...checkpoint.problems, problem] }
}
