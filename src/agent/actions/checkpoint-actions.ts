import { lstatSync } from 'node:fs'
import { checkpointChanged } from '../../checkpoint/changed-error.ts'
import type { Verification } from '../../checkpoint/verification.ts'
import type { Actor } from '../../checkpoint/actor.ts'
import type { Checkpoint, CheckpointPin } from '../../checkpoint/checkpoint.ts'
import { CallerLeftError, errorText } from '../../shared/errors.ts'
import { withoutHostPaths } from '../../shared/host-paths.ts'
import type { Clock } from '../../shared/clock.ts'
import type { ActionRequest, CheckpointActions as CheckpointActionServices } from '../../http/checkpoint-services.ts'
import type { Logger } from '../../shared/logger.ts'
import type { Place, Places } from '../admission/places.ts'
import { pathOf } from '../inventory/archive-file.ts'
import { generationOf } from '../../checkpoint/generation.ts'
import { HashQueue } from '../hashing/hash-queue.ts'
import type { ArchiveReader } from '../inspection/archive-reader.ts'
import { assertNotManaged, readPin, removePin, writePin } from '../directory/pins.ts'
import { assertRemovable, removeArchive } from './removal.ts'
import { SharedWork } from '../../shared/shared-work.ts'
import { Turns } from '../../shared/turns.ts'
import { verifyArchive } from './verification.ts'

/** Describes an action on a checkpoint, as an entry of the custody log. */
export interface ActionEntry {
  readonly actor: Actor
  readonly action: 'pin' | 'unpin' | 'verify' | 'delete' | 'tampering'
  readonly checkpoint: Checkpoint
  /** Outcome of the action. `intended` is recorded first if the action cannot be undone. */
  readonly outcome: 'intended' | 'done' | 'failed'
  readonly detail?: Readonly<Record<string, unknown>>
}

export interface CheckpointActionsOptions {
  readonly directory: string
  readonly reader: Pick<ArchiveReader, 'summarize'>
  readonly clock: Clock
  readonly logger: Logger
  /** Limits the number of archives that are read to their end at the same time. */
  readonly inspections: Pick<Places, 'enter'>
  /** Resolves once the entry is on disk. If it rejects, the action is not performed. */
  readonly record: (entry: ActionEntry) => Promise<void>
  /** Returns the digest that the custody log holds for this generation of the file. */
  readonly findRecordedSha256: (checkpoint: Checkpoint) => string | undefined
  readonly isInUse: (id: string) => boolean
  /** Protects the archive from removal until the returned function is called. */
  readonly hold: (id: string) => () => void
  /** Rechecks the file and returns its current row, or undefined if the file is gone. */
  readonly refresh: (checkpoint: Checkpoint) => Promise<Checkpoint | undefined>
}

/** Pins, verifies and removes archives, and records every action in the custody log. */
export class CheckpointActions implements CheckpointActionServices {
  readonly #options: CheckpointActionsOptions
  readonly #hashes = new HashQueue()
  /** Serializes changes to the marker of one archive: two concurrent drafts of it would be the same file. */
  readonly #pinTurns = new Turns()
  readonly #verifications = new SharedWork<Verification>()

  constructor(options: CheckpointActionsOptions) {
    this.#options = options
  }

  /**
   * Pins the archive. A pin set by hand is left unchanged, and the agent's own pin keeps its reason unless a new one is
   * given.
   */
  async pin(checkpoint: Checkpoint, order: ActionRequest): Promise<Checkpoint> {
    return this.#pinTurns.run(checkpoint.id, () => this.#pin(checkpoint, order))
  }

  async unpin(checkpoint: Checkpoint, order: ActionRequest): Promise<Checkpoint> {
    return this.#pinTurns.run(checkpoint.id, () => this.#unpin(checkpoint, order))
  }

  async #pin(checkpoint: Checkpoint, { actor, reason }: ActionRequest): Promise<Checkpoint> {
    const { directory, clock } = this.#options
    const before = this.#assertThere(checkpoint)
    assertNotManaged(before)
    const isKept = before?.by === 'us' && reason === undefined
    const noted = isKept ? before.reason : reason
    await this.#record({
      actor,
      action: 'pin',
      checkpoint,
      outcome: 'done',
      ...(noted !== undefined && { detail: { reason: noted } }),
    })
    if (before?.by !== 'manual' && !isKept) {
      await writePin(directory, checkpoint.rawName, { reason, by: actor.user, at: clock.now() })
    }
    return this.#refreshed(checkpoint)
  }

  async #unpin(checkpoint: Checkpoint, { actor, reason }: ActionRequest): Promise<Checkpoint> {
    const { directory } = this.#options
    const before = this.#assertThere(checkpoint)
    if (before === undefined) return checkpoint
    assertNotManaged(before)
    const detail = { by: before.by, pinReason: before.reason, reason }
    await this.#record({ actor, action: 'unpin', checkpoint, outcome: 'done', detail })
    removePin(pathOf(directory, checkpoint.rawName))
    return this.#refreshed(checkpoint)
  }

  /** Verifies the archive. Callers who share a verification each get their own log entry. Throws CallerLeftError. */
  async verify(
    checkpoint: Checkpoint,
    { actor, reason, signal }: ActionRequest & { readonly signal: AbortSignal },
  ): Promise<Verification> {
    const found = await this.#verifyOnce(checkpoint, actor.user, signal)
    const { sha256, index, custody, isIntact } = found
    const detail = { sha256, index, custody, intact: isIntact, reason }
    // Recorded first because this entry is accepted even when the log is too full for verifications.
    if (index === 'different' || custody === 'different') {
      const { generation } = checkpoint
      await this.#record({ actor, action: 'tampering', checkpoint, outcome: 'done', detail: { ...detail, generation } })
    }
    await this.#record({ actor, action: 'verify', checkpoint, outcome: 'done', detail })
    return found
  }

  /** Reads each file once for all concurrent callers. Only the caller who starts the read needs a place. */
  async #verifyOnce(checkpoint: Checkpoint, user: string, signal: AbortSignal): Promise<Verification> {
    const { id, generation, sha256 = '' } = checkpoint
    // The key includes the recorded digest because it may have become known only now.
    const key = [id, generation, sha256].join(' ')
    for (;;) {
      if (this.#verifications.isRunning(key)) return this.#verifications.join(key, joinOnly, signal)
      const place = await this.#placeToVerify(key, user, signal)
      if (place === undefined) continue
      if (!signal.aborted && !this.#verifications.isRunning(key)) {
        return this.#verifications.join(key, (ending) => this.#verify(checkpoint, place, ending), signal)
      }
      place.leave()
      if (signal.aborted) throw new CallerLeftError()
    }
  }

  /** Returns undefined if another caller has started the same verification in the meantime. */
  async #placeToVerify(key: string, user: string, signal: AbortSignal): Promise<Place | undefined> {
    return this.#verifications.unlessBegun(key, async (begun) => {
      try {
        return await this.#options.inspections.enter(user, AbortSignal.any([signal, begun]))
      } catch (error) {
        if (begun.aborted && !signal.aborted) return undefined
        throw error
      }
    })
  }

  async #verify(checkpoint: Checkpoint, place: Place, signal: AbortSignal): Promise<Verification> {
    const { directory, reader, clock, findRecordedSha256, hold } = this.#options
    const release = hold(checkpoint.id)
    try {
      return await verifyArchive(checkpoint, {
        directory,
        hashes: this.#hashes,
        reader,
        recordedSha256: findRecordedSha256(checkpoint),
        now: clock.now(),
        signal,
      })
    } finally {
      release()
      place.leave()
    }
  }

  async remove(checkpoint: Checkpoint, { actor, reason }: ActionRequest): Promise<void> {
    const { directory, clock, isInUse, logger } = this.#options
    const options = { directory, isInUse, now: () => clock.now() }
    assertRemovable(checkpoint, options)
    const { generation } = checkpoint
    await this.#record({ actor, action: 'delete', checkpoint, outcome: 'intended', detail: { generation, reason } })
    try {
      await removeArchive(checkpoint, options)
    } catch (error) {
      const detail = { error: withoutHostPaths(errorText(error)) }
      await this.#record({ actor, action: 'delete', checkpoint, outcome: 'failed', detail }).catch(() => undefined)
      throw error
    }
    await this.#options.refresh(checkpoint)
    // The archive is gone and the intent is recorded, so a failure to write the log does not change the answer.
    const done = { actor, action: 'delete', checkpoint, outcome: 'done' } as const
    await this.#record({ ...done, ...(reason !== undefined && { detail: { reason } }) }).catch((error: unknown) => {
      logger.error({ id: checkpoint.id, error: errorText(error) }, 'Cannot record that an archive was removed')
    })
  }

  async close(): Promise<void> {
    await this.#hashes.close()
  }

  /** Returns the pin of this generation of the file. Throws ConflictError if the file has changed. */
  #assertThere({ id, rawName, generation }: Checkpoint): CheckpointPin | undefined {
    const path = pathOf(this.#options.directory, rawName)
    const stat = lstatSync(path, { bigint: true, throwIfNoEntry: false })
    if (stat?.isFile() === true && generationOf(stat) === generation) return readPin(path)
    throw checkpointChanged(`change checkpoint "${id}"`)
  }

  async #refreshed(checkpoint: Checkpoint): Promise<Checkpoint> {
    const now = await this.#options.refresh(checkpoint)
    if (now === undefined) throw checkpointChanged(`change checkpoint "${checkpoint.id}"`)
    return now
  }

  #record(entry: ActionEntry): Promise<void> {
    return this.#options.record(entry)
  }
}

async function joinOnly(): Promise<never> {
  throw new Error('What is running is not begun again')
}
