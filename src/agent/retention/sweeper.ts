import { constants } from 'node:fs'
import { access } from 'node:fs/promises'
import type { OpenPlan } from '../../http/retention-services.ts'
import { ulid } from 'ulid'
import type { Checkpoint } from '../../checkpoint/checkpoint.ts'
import { AGENT_ACTOR, type CustodyActor } from '../../custody/custody-entry.ts'
import type { PlannedRemoval } from '../../retention/plan-types.ts'
import type { Clock } from '../../shared/clock.ts'
import { AgentError, ConflictError, errorText, UnavailableError } from '../../shared/errors.ts'
import { failPoint } from '../../shared/fail-point.ts'
import type { Logger } from '../../shared/logger.ts'
import type { CheckpointFile } from '../../store/checkpoint-store.ts'
import type { Planner } from './planner.ts'
import {
  announceBatch,
  PLAN_CHANGED,
  PRUNE_FAILED,
  type AnnouncedBatch,
  type PrunedBatch,
  type PruneOutcome,
  type PruneTools,
} from './prune-batch.ts'
import type { SweepReport, SweepTrigger } from '../../checkpoint/sweep-report.ts'
import { SweepTally } from './sweep-tally.ts'

export interface SweepRequest {
  readonly trigger: SweepTrigger
  /** Defaults to the agent itself. */
  readonly actor?: CustodyActor
  /** ID of the plan that was approved. Any other plan is refused. */
  readonly planId?: string
  /** Reason for the custody log. */
  readonly reason?: string
  readonly wantedBytes?: number
}

export interface SweeperOptions extends PruneTools {
  readonly planner: Planner
  /** Excludes archives from scans, because the sweep reports their changes. */
  readonly exclude: (ids: readonly string[]) => void
  readonly release: (ids: readonly string[]) => void
  /** Removes the rows of these files. */
  readonly forget: (removed: readonly CheckpointFile[]) => void
  /** Resolves once the rows of these archives are up to date. */
  readonly recheck: (ids: readonly string[]) => Promise<void>
  /** Called if an announced removal did not happen or was done by another program. */
  readonly onLeft: (id: string) => Promise<void>
  /** Shows on the archive's row why it could not be removed. Undefined clears the reason. */
  readonly onError: (id: string, reason: string | undefined) => void
  readonly onReport: (report: SweepReport) => void
  readonly clock: Clock
  readonly logger: Logger
}

/** Archives per batch, whose entries share an fsync. */
const BATCH = 64
/** Maximum number of plans per sweep. If other programs keep removing archives, the next sweep continues. */
const MAX_PLANS = 10
/** Archives requested at once from the process that computes plans. */
const PAGE = 8 * BATCH
/** Rows removed at once, which takes about 40 ms. This costs a quarter of removing them batch by batch. */
const FORGOTTEN_AT_ONCE = 16 * BATCH
/** Maximum time for which the list still shows removed archives. */
const FORGOTTEN_AFTER_MS = 500

/** Carries out plans, one at a time. */
export class Sweeper {
  readonly #options: SweeperOptions
  readonly #stop = new AbortController()
  #current: Promise<SweepReport> | undefined
  /** Archives that this sweep is removing. */
  readonly #pending = new Set<string>()
  /** Number of archives that other programs removed. An older plan may have counted on them. */
  #losses = 0
  #failing = new Set<string>()

  constructor(options: SweeperOptions) {
    this.#options = options
  }

  get isSweeping(): boolean {
    return this.#current !== undefined
  }

  /** Resolves once no sweep is under way. */
  async idle(): Promise<void> {
    while (this.#current !== undefined) await this.#current.catch(() => undefined)
  }

  /** Notes that an archive is gone from the directory. */
  noteRemoved(id: string): void {
    if (!this.#pending.has(id)) this.#losses += 1
  }

  /** Stops after the current batch. */
  async stop(): Promise<void> {
    this.#stop.abort()
    await this.#current?.catch(() => undefined)
  }

  /**
   * Sweeps and resolves once nothing is left to remove. Throws ConflictError (`SweepRunning`, `PlanChanged`), or
   * UnavailableError if the custody log or the directory cannot be written. The remaining archives then stay.
   */
  async sweep(order: SweepRequest): Promise<SweepReport> {
    if (this.#stop.signal.aborted) {
      throw new UnavailableError('Cannot sweep: the agent is ending', {
        code: 'ShuttingDown',
        hint: 'Ask again when it has been started anew.',
      })
    }
    if (this.#current !== undefined) {
      throw new ConflictError('Cannot sweep: another sweep is under way', {
        code: 'SweepRunning',
        hint: 'Ask again when it is over; GET /v1/retention/history shows what it did.',
      })
    }
    this.#current = this.#sweep(order).finally(() => {
      this.#current = undefined
    })
    return await this.#current
  }

  async #sweep(order: SweepRequest): Promise<SweepReport> {
    const { clock, onReport } = this.#options
    const run = new Run(order, clock.now(), this.#losses)
    try {
      await this.#open(run)
      failPoint('sweep.planned')
      if (order.planId !== undefined && order.planId !== run.plan.head.id) throw planChanged()
      await this.#removeAll(run).catch((error: unknown) => {
        run.error = error
      })
      const report = run.report()
      onReport(report)
      failPoint('sweep.reported')
      if (run.error !== undefined) throw run.error
      return report
    } finally {
      run[Symbol.dispose]()
    }
  }

  async #removeAll(run: Run): Promise<void> {
    // Checked first so that no impossible removal is announced.
    if (run.plan.head.totals.removedArchives > 0) await this.#assertWritable()
    const removals = new PlannedRemovals(run)
    let ahead: Promise<Announced | undefined> | undefined
    try {
      while (!this.#stop.signal.aborted) {
        if (ahead === undefined && this.#losses !== run.losses) await this.#planAnew(run, removals)
        const batch = await (ahead ?? this.#announceNext(run, removals))
        ahead = undefined
        if (batch === undefined) {
          if (this.#losses === run.losses) break
          continue
        }
        // Writing the announcement takes time on the disk, so files are unlinked meanwhile.
        if (this.#losses === run.losses) ahead = this.#announceNext(run, removals)
        ahead?.catch(() => undefined)
        await this.#unlink(run, batch)
      }
    } catch (error) {
      run.isOver = true
      throw error
    } finally {
      // Every batch that was begun is finished. If the last batch fails, its error is the one that is reported.
      const announced = await ahead?.catch(() => undefined)
      if (announced !== undefined) await this.#unlink(run, announced).catch(() => undefined)
      await run.lastBatch.finally(() => {
        this.#forgetGone(run)
      })
    }
    if (this.#stop.signal.aborted) run.isStopped = true
    else this.#forgetTroubles(run.tried)
  }

  /** Announces the next batch. Returns undefined if nothing is left to remove. */
  async #announceNext(run: Run, removals: PlannedRemovals): Promise<Announced | undefined> {
    const { tried } = run
    while (!this.#stop.signal.aborted) {
      const batch = await removals.next()
      if (batch.length === 0) return undefined
      const fresh = batch.filter(({ archive }) => !tried.has(archive.id))
      for (const { archive } of fresh) tried.add(archive.id)
      if (fresh.length > 0) return await this.#announce(run, fresh)
    }
    return undefined
  }

  /** Makes a new plan because an archive that the old plan may have counted on is gone. */
  async #planAnew(run: Run, removals: PlannedRemovals): Promise<void> {
    // The approval of a plan does not extend to another one.
    if (run.order.planId !== undefined) throw planChanged()
    await run.lastBatch
    run.plans += 1
    if (run.plans > MAX_PLANS) throw planChanged()
    run.losses = this.#losses
    await this.#open(run)
    removals.begin()
  }

  async #announce(run: Run, removals: readonly PlannedRemoval[]): Promise<Announced> {
    const { order, plan, losses } = run
    const ids = removals.map(({ archive }) => archive.id)
    for (const id of ids) this.#pending.add(id)
    this.#options.exclude(ids)
    const batch = await announceBatch(
      removals,
      {
        actor: order.actor ?? AGENT_ACTOR,
        detail: {
          plan: plan.head.id,
          trigger: order.trigger,
          ...(order.reason !== undefined && { reason: order.reason }),
        },
        isPlanRight: () => this.#losses === losses && !run.isOver,
      },
      this.#options,
    ).catch((error: unknown) => {
      this.#release(ids)
      throw error
    })
    return { ids, batch }
  }

  /** Unlinks a batch. Its outcomes are recorded while the next batch is unlinked. */
  async #unlink(run: Run, { ids, batch }: Announced): Promise<void> {
    const pruned = await batch.unlink()
    const before = run.lastBatch
    const finished = this.#finish(run, pruned).catch((error: unknown) => {
      this.#release(ids)
      throw error
    })
    run.lastBatch = finished
    // The last batch is awaited later, so prevent an unhandled rejection until then.
    finished.catch(() => undefined)
    await before
  }

  async #finish(run: Run, batch: PrunedBatch): Promise<void> {
    const outcome = await batch.finish()
    run.add(outcome)
    for (const { checkpoint } of outcome.removed) {
      this.#failing.delete(checkpoint.id)
      run.gone.push(checkpoint)
    }
    if (run.gone.length >= FORGOTTEN_AT_ONCE || run.forgottenMsAgo > FORGOTTEN_AFTER_MS) this.#forgetGone(run)
    await this.#settle(outcome)
    if (outcome.removed.length === 0 && outcome.left.length > 0) await this.#assertWritable()
  }

  #forgetGone(run: Run): void {
    const gone = run.takeGone()
    try {
      this.#options.forget(gone)
    } finally {
      this.#release(gone.map(({ id }) => id))
    }
    failPoint('sweep.forgotten')
  }

  /** Updates the rows of archives that still exist and shows why they could not be removed. */
  async #settle({ left, skipped }: PruneOutcome): Promise<void> {
    const { release, recheck, onLeft, onError } = this.#options
    const others = [...left, ...skipped].map(({ id }) => id)
    release(others)
    if (others.length > 0) await recheck(others)
    this.#release(others)
    for (const { id, code, reason } of left) {
      await onLeft(id)
      if (code !== PRUNE_FAILED) continue
      this.#failing.add(id)
      onError(id, reason)
    }
  }

  #release(ids: readonly string[]): void {
    for (const id of ids) this.#pending.delete(id)
    this.#options.release(ids)
  }

  /** Clears the error of archives that are no longer to be removed. */
  #forgetTroubles(tried: ReadonlySet<string>): void {
    for (const id of this.#failing) {
      if (tried.has(id)) continue
      this.#failing.delete(id)
      this.#options.onError(id, undefined)
    }
  }

  async #open(run: Run): Promise<void> {
    const { wantedBytes } = run.order
    run.take(await this.#options.planner.open(wantedBytes === undefined ? {} : { wantedBytes }))
  }

  async #assertWritable(): Promise<void> {
    const { directory } = this.#options
    try {
      await access(directory, constants.W_OK)
    } catch (error) {
      throw new UnavailableError(`Cannot remove archives in "${directory}": ${errorText(error)}`, {
        code: 'LocationNotWritable',
        hint: 'The agent must be able to write into checkpoints.directory.',
        cause: error,
      })
    }
  }
}

interface Announced {
  readonly ids: readonly string[]
  readonly batch: AnnouncedBatch
}

/** Divides the removals of a plan into batches. */
class PlannedRemovals {
  readonly #run: Run
  #page: readonly PlannedRemoval[] = []
  #at = 0
  #skip = 0

  constructor(run: Run) {
    this.#run = run
  }

  /** Starts at the beginning of a new plan. */
  begin(): void {
    this.#page = []
    this.#at = 0
    this.#skip = 0
  }

  /** Returns the next batch, which is empty at the end. */
  async next(): Promise<readonly PlannedRemoval[]> {
    if (this.#at >= this.#page.length) {
      this.#page = await this.#run.plan.page('remove', { skip: this.#skip, count: PAGE })
      this.#skip += this.#page.length
      this.#at = 0
    }
    const batch = this.#page.slice(this.#at, this.#at + BATCH)
    this.#at += batch.length
    return batch
  }
}

/** State of one sweep. */
class Run implements Disposable {
  readonly order: SweepRequest
  losses: number
  plans = 1
  isStopped = false
  /** Whether to stop all removals, including announced ones. */
  isOver = false
  error: unknown
  /** Archives tried in this sweep. Each is tried once. */
  readonly tried = new Set<string>()
  /** Resolves once the outcomes of all unlinked batches are recorded. */
  lastBatch: Promise<void> = Promise.resolve()
  /** Archives that were removed and recorded but still have rows. */
  gone: CheckpointFile[] = []
  #forgottenAt = performance.now()
  readonly #startedAt: Date
  readonly #begun = performance.now()
  readonly #tally = new SweepTally()
  #plan: OpenPlan | undefined

  constructor(order: SweepRequest, startedAt: Date, losses: number) {
    this.order = order
    this.losses = losses
    this.#startedAt = startedAt
  }

  get plan(): OpenPlan {
    if (this.#plan === undefined) throw new Error('There is no plan yet')
    return this.#plan
  }

  take(plan: OpenPlan): void {
    this.#plan?.[Symbol.dispose]()
    this.#plan = plan
  }

  get forgottenMsAgo(): number {
    return performance.now() - this.#forgottenAt
  }

  takeGone(): readonly CheckpointFile[] {
    this.#forgottenAt = performance.now()
    return this.gone.splice(0)
  }

  add({ removed, left, skipped }: PruneOutcome): void {
    for (const { checkpoint, rule } of removed) this.#tally.removed(rule, checkpoint.sizeBytes)
    for (const { id, fileName, code, reason } of left) {
      // The next plan decides whether to remove the archive.
      if (code === PLAN_CHANGED) this.tried.delete(id)
      else this.#tally.left(code === PRUNE_FAILED ? 'failed' : 'skipped', { id, fileName, code, reason })
    }
    for (const archive of skipped) this.#tally.left('skipped', archive)
  }

  report(): SweepReport {
    const { id, blocked, diskNotOurs } = this.plan.head
    const outcome = this.error !== undefined ? 'failed' : this.isStopped ? 'stopped' : 'done'
    return {
      id: ulid(this.#startedAt.getTime()),
      startedAt: this.#startedAt.toISOString(),
      millis: Math.round(performance.now() - this.#begun),
      trigger: this.order.trigger,
      user: (this.order.actor ?? AGENT_ACTOR).user,
      planId: id,
      outcome,
      ...(this.error !== undefined && {
        error: {
          code: this.error instanceof AgentError ? this.error.code : 'Unclassified',
          detail: errorText(this.error),
        },
      }),
      ...this.#tally.figures,
      blocked,
      diskNotOurs,
    }
  }

  [Symbol.dispose](): void {
    this.#plan?.[Symbol.dispose]()
  }
}

function planChanged(): ConflictError {
  return new ConflictError('Cannot sweep: the plan is another one by now', {
    code: 'PlanChanged',
    hint: 'Look at it again with POST /v1/retention/plan, and name its id.',
  })
}

/** Returns the row with the reason why its archive could not be removed, or without one. */
export function withTrouble(checkpoint: Checkpoint, reason: string | undefined): Checkpoint {
  const problems = checkpoint.problems.filter(({ code }) => code !== PRUNE_FAILED)
  if (reason !== undefined) problems.push({ code: PRUNE_FAILED, weight: 'note', detail: reason })
  return { ...checkpoint, problems }
}
