import { lstatSync, type BigIntStats } from 'node:fs'
import { dumpTimeOf } from '../../checkpoint/capture-job.ts'
import type { Checkpoint, CheckpointState } from '../../checkpoint/checkpoint.ts'
import { checkpointId } from '../../checkpoint/checkpoint-id.ts'
import type { ContainerIdentity } from '../../checkpoint/identity.ts'
import type { Clock } from '../../shared/clock.ts'
import { errorText } from '../../shared/errors.ts'
import type { Logger } from '../../shared/logger.ts'
import { readableText } from '../../shared/readable-text.ts'
import type { CheckpointStore, KnownFile } from '../../store/checkpoint-store.ts'
import type { JobStore } from '../../store/job-store.ts'
import { assessArchive, isForThisReader, outcomeOnRecord, type ArchiveLook } from './archive-assessment.ts'
import type { ArchiveDigests } from '../hashing/archive-digests.ts'
import { examineArchive, pathOf, toArchiveFile, type ExaminedFile } from './archive-file.ts'
import { hasProblem, isAsSeen, isPrivate, tellsTheSame, withPin } from './archive-row.ts'
import type { CaptureFacts } from '../custody/capture-facts.ts'
import { generationOf, inodeOf } from '../../checkpoint/generation.ts'
import type { ArchiveReader, ReaderLane, SummaryOutcome } from '../inspection/archive-reader.ts'
import type { PermissionRepair, PermissionsPolicy } from '../directory/permissions.ts'
import { readPin } from '../directory/pins.ts'
import type { SettlingFiles } from './settling.ts'

export interface CapturedFile {
  readonly checkpointId: string
  readonly inode: number
  readonly sizeBytes: number
}

export interface ArchiveLooksOptions {
  readonly directory: string
  readonly store: CheckpointStore
  readonly jobs: JobStore
  readonly reader: Pick<ArchiveReader, 'summarize' | 'summarizeAll'>
  readonly permissions: PermissionsPolicy
  readonly settling: SettlingFiles
  readonly digests: ArchiveDigests
  readonly onRepair?: (repair: PermissionRepair) => void
  readonly findObservedCapture?: (file: CapturedFile) => CaptureFacts | undefined
  readonly findDigestTime?: (id: string) => number | undefined
  /** Requests another refresh after this delay, without an event for the file. */
  readonly recheck: (rawName: Uint8Array, afterMs: number) => void
  readonly clock: Clock
  readonly logger: Logger
}

interface Known {
  /** Name as latin1 text. */
  readonly name: string
  readonly id: string
  /** Whether the index had a row for the file. */
  readonly isKnown: boolean
}

/** A file whose content has not been read. */
export interface UnreadFile extends Known {
  readonly kind: 'unread'
  readonly pin: Checkpoint['pin']
  readonly file: ExaminedFile
}

export interface ReadFile extends Omit<UnreadFile, 'kind'> {
  readonly kind: 'read'
  readonly outcome: SummaryOutcome
}

/** Result of examining a file, from which its row is built. `final`: only its pin and its owner can have changed. */
export type Finding =
  | ReadFile
  | (Known & { readonly kind: 'gone' })
  | (Known & { readonly kind: 'final'; readonly pin: Checkpoint['pin'] })

/** Delay for programs that link an archive to its final name and then remove the other name. */
const LINKED_AGAIN_MS = 1_000

/** Examines files of the directory, reads those that may have changed, and builds their rows. */
export class ArchiveLooks {
  readonly #options: ArchiveLooksOptions
  /** Archives that were hashed again after a change, by ID, with their change time at that moment. */
  readonly #readAgain = new Map<string, bigint>()

  constructor(options: ArchiveLooksOptions) {
    this.#options = options
  }

  /** Examines the file without reading its content. Returns undefined on failure, so that its row stays as it is. */
  examine(name: string): Finding | UnreadFile | undefined {
    const { directory, store, permissions, logger } = this.#options
    const rawName = Buffer.from(name, 'latin1')
    const id = checkpointId(rawName)
    try {
      const path = pathOf(directory, rawName)
      const before = store.find(id)
      const known = { name, id, isKnown: before !== undefined }
      const stat = lstatSync(path, { bigint: true, throwIfNoEntry: false })
      if (stat?.isFile() !== true) return { kind: 'gone', ...known }
      const pin = readPin(path)
      if (before?.generation === generationOf(stat) && this.#isFinal(before, stat)) {
        if (this.#isTouched(before, stat)) this.#compareAgain(before, stat)
        return { kind: 'final', ...known, pin }
      }
      const file = examineArchive(rawName, stat, { directory, permissions })
      if (file === undefined) return { kind: 'gone', ...known }
      if (file.repair !== undefined) this.#tellRepair(file, id)
      if (file.stat.nlink > 1n) this.#options.recheck(rawName, LINKED_AGAIN_MS)
      const outcome = outcomeOnRecord(before, file)
      if (outcome !== undefined) return { kind: 'read', ...known, pin, file, outcome }
      return { kind: 'unread', ...known, pin, file }
    } catch (error) {
      logger.error({ id, error: errorText(error) }, 'Cannot read an archive')
      return undefined
    }
  }

  /** Reads files in order and reports them one at a time. */
  async read(unread: readonly UnreadFile[], lane: ReaderLane, onRead: (finding: ReadFile) => void): Promise<void> {
    if (unread.length === 0) return
    const { reader } = this.#options
    const tell = (index: number, outcome: SummaryOutcome) => {
      const pending = unread[index]
      if (pending !== undefined) onRead({ ...pending, kind: 'read', outcome })
    }
    if (lane === 'index') {
      const files = unread.map(({ file }) => toArchiveFile(file))
      await reader.summarizeAll(files, tell)
      return
    }
    for (const [index, { file }] of unread.entries()) tell(index, await reader.summarize(toArchiveFile(file), { lane }))
  }

  /**
   * Returns the row that the index should have, which is `before` if nothing has changed. Returns undefined if the file
   * is not an archive.
   */
  toRow(finding: Finding, before: Checkpoint | undefined): Checkpoint | undefined {
    if (finding.kind === 'gone') return undefined
    const { pin } = finding
    const isPinSame = before !== undefined && JSON.stringify(pin) === JSON.stringify(before.pin)
    if (finding.kind === 'final') return before && this.#observed(isPinSame ? before : withPin(before, pin))
    const { file, outcome } = finding
    if (outcome.kind === 'changed') return before
    const now = this.#judge(assessArchive(file, outcome, this.#options.clock.now()), before)
    if (before?.generation === now.generation && isPinSame && tellsTheSame(before, now)) return this.#observed(before)
    const isSameFile = before !== undefined && inodeOf(before.generation) === inodeOf(now.generation)
    return withPin(this.#observed(isSameFile ? { ...now, discoveredAt: before.discoveredAt } : now), pin)
  }

  /** Returns whether a refresh would show nothing new. Used by the rescan, which knows little about many rows. */
  isAsItIs(known: KnownFile, stat: BigIntStats): boolean {
    if (!SETTLED.has(known.state)) return false
    if (known.state === 'hashing' && !this.#options.digests.isExpected(known)) return false
    if (this.#isTouched(known, stat)) return false
    if (known.state !== 'damaged' && !known.isDoubtful && isPrivate(stat)) return true
    const row = this.#options.store.find(known.id)
    return row !== undefined && this.#isFinal(row, stat)
  }

  /** Forgets an archive whose file is gone. */
  forget(id: string): void {
    this.#options.settling.forget(id)
    this.#readAgain.delete(id)
  }

  #tellRepair({ rawName, repair }: ExaminedFile, checkpointIdOfFile: string): void {
    if (repair === undefined) return
    this.#options.onRepair?.({
      what: 'archive',
      path: readableText(rawName),
      checkpointId: checkpointIdOfFile,
      ...repair,
    })
  }

  /**
   * Returns the row with its state. If the archive is whole and its generation is unchanged, its state and digest stay.
   */
  #judge(look: ArchiveLook, before: Checkpoint | undefined): Checkpoint {
    const { checkpoint, end } = look
    if (end === 'whole' && before?.generation === checkpoint.generation && WHOLE.has(before.state)) {
      const { state, sha256 } = before
      return { ...checkpoint, state, ...(sha256 !== undefined && { sha256 }) }
    }
    const { state, recheckMs } = this.#options.settling.judge(look)
    if (recheckMs !== undefined) this.#options.recheck(checkpoint.rawName, recheckMs)
    return { ...checkpoint, state }
  }

  /** Returns whether a refresh of this generation would show nothing new. */
  #isFinal(row: Checkpoint, stat: BigIntStats): boolean {
    return SETTLED.has(row.state) && !this.#isWorthATry(row) && isAsSeen(row, stat)
  }

  /**
   * Returns whether the file was changed after its digest was recorded. Its generation does not show this, because a
   * program can set the modification time back, but not the change time.
   */
  #isTouched({ id, state }: Pick<Checkpoint, 'id' | 'state'>, { ctimeMs, ctimeNs }: BigIntStats): boolean {
    if (state !== 'ready') return false
    const digestAt = this.#options.findDigestTime?.(id)
    return digestAt !== undefined && Number(ctimeMs) > digestAt && this.#readAgain.get(id) !== ctimeNs
  }

  /** Hashes the file again. Usually only its permissions have changed. If its bytes differ, it is treated as new. */
  #compareAgain(checkpoint: Checkpoint, { ctimeNs }: BigIntStats): void {
    this.#readAgain.set(checkpoint.id, ctimeNs)
    const { digests, store, recheck } = this.#options
    digests.compare(checkpoint, () => {
      const row = store.find(checkpoint.id)
      if (row?.generation !== checkpoint.generation) return
      const { sha256: _, ...rest } = row
      store.saveAll([{ ...rest, state: 'discovered' }])
      recheck(row.rawName, 0)
    })
  }

  /**
   * Returns whether another attempt to read the file may succeed. Its permissions may have changed without a new
   * generation. A failed read is repeated once its cause may be gone, and at the next start.
   */
  #isWorthATry(checkpoint: Checkpoint): boolean {
    if (hasProblem(checkpoint, 'NotReadable') || isForThisReader(checkpoint)) return true
    return hasProblem(checkpoint, 'ReadFailed') && !this.#options.digests.hasFailed(checkpoint)
  }

  /**
   * Adds the identity from the agent's own capture, which was observed and not read from the archive. The file may be
   * found before its capture is recorded.
   */
  #observed(checkpoint: Checkpoint): Checkpoint {
    const { id, generation, sizeBytes, identity } = checkpoint
    const { jobs, findObservedCapture } = this.#options
    if (identity.source === 'observed') return checkpoint
    const file = { checkpointId: id, inode: Number(inodeOf(generation)), sizeBytes }
    const capture = jobs.hasCaptures() ? jobs.findCaptureOf(file) : undefined
    if (capture?.archive !== undefined) {
      return asObserved(withDumpTime(checkpoint, dumpTimeOf(capture)), { ...capture, takenAt: capture.archive.takenAt })
    }
    const facts = findObservedCapture?.(file)
    if (facts === undefined) return checkpoint
    return asObserved(withDumpTime(checkpoint, facts), { ...facts, takenAt: new Date(facts.takenAt) })
  }
}

/** States in which nothing more happens until the file changes. */
export const SETTLED: ReadonlySet<CheckpointState> = new Set(['hashing', 'ready', 'damaged'])

const WHOLE: ReadonlySet<CheckpointState> = new Set(['hashing', 'ready'])

/** Adds the duration of the agent's own dump. CRIU's statistics cover only a part of it. */
function withDumpTime(
  checkpoint: Checkpoint,
  { dumpMillis }: { readonly dumpMillis?: number | undefined },
): Checkpoint {
  return dumpMillis === undefined ? checkpoint : { ...checkpoint, summary: { ...checkpoint.summary, dumpMillis } }
}

interface ObservedCapture {
  readonly identity: ContainerIdentity
  readonly takenAt: Date
  readonly reason?: string | undefined
}

function asObserved(checkpoint: Checkpoint, { identity, takenAt, reason }: ObservedCapture): Checkpoint {
  return {
    ...checkpoint,
    ...(reason !== undefined && { reason }),
    identity: { ...identity, source: 'observed', isTrusted: true },
    takenAt: { text: takenAt.toISOString(), millis: takenAt.getTime() },
  }
}
