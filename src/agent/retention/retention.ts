import type { OpenPlan, RetentionServices, RetentionStatus } from '../../http/retention-services.ts'
import type Sqlite from 'better-sqlite3'
import { lstat, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { checkpointId } from '../../checkpoint/checkpoint-id.ts'
import { refusalOf, type Newcomer } from '../../retention/admission.ts'
import { readPolicy } from '../../retention/policy-parser.ts'
import { writePolicy } from '../../retention/policy-writer.ts'
import type { Policy } from '../../retention/policy.ts'
import { errorText, InvalidInputError } from '../../shared/errors.ts'
import type { Clock } from '../../shared/clock.ts'
import type { Logger } from '../../shared/logger.ts'
import type { CheckpointStore } from '../../store/checkpoint-store.ts'
import { GonePodStore } from '../../store/gone-pod-store.ts'
import type { JobStore } from '../../store/job-store.ts'
import { SweepStore } from '../../store/sweep-store.ts'
import type { Readers } from '../content/readers.ts'
import type { Custody } from '../custody/custody.ts'
import { readDiskSpace } from '../directory/disk-space.ts'
import type { Inventory } from '../inventory/inventory.ts'
import type { Staging } from '../directory/staging.ts'
import { settleRemovals } from './interrupted-removals.ts'
import { OrphanWatch } from './orphan-watch.ts'
import { PlanLane } from './plan-lane.ts'
import type { OpenPlanRequest } from './planner.ts'
import { RetentionLog } from './retention-log.ts'
import type { RetentionMetrics } from './retention-metrics.ts'
import type { SweepReport } from '../../checkpoint/sweep-report.ts'
import { SweepTriggers } from './sweep-triggers.ts'
import { Sweeper, withTrouble, type SweepRequest } from './sweeper.ts'

export interface RetentionOptions {
  readonly directory: string
  readonly indexFile: string
  readonly database: Sqlite.Database
  readonly store: CheckpointStore
  readonly jobs: JobStore
  readonly inventory: Inventory
  readonly custody: Custody
  readonly readers: Readers
  readonly staging: Staging
  /** Returns the UIDs of the pods known to the runtime. Rejects if the runtime does not answer. */
  readonly listPodUids: () => Promise<ReadonlySet<string>>
  readonly metrics: RetentionMetrics
  readonly policy: Policy
  readonly clock: Clock
  readonly logger: Logger
}

/** Plans and performs the removal of archives. */
export class Retention implements RetentionServices {
  readonly #options: RetentionOptions
  readonly #lane: PlanLane
  readonly #sweeper: Sweeper
  readonly #triggers: SweepTriggers
  readonly #orphans: OrphanWatch
  readonly #history: SweepStore<SweepReport>
  readonly #unwatch: () => void
  readonly #started = Promise.withResolvers<void>()
  #captured: { readonly at: number; readonly ids: ReadonlySet<string> } = {
    at: Number.NEGATIVE_INFINITY,
    ids: new Set(),
  }
  #policy: Policy
  #mistakes: readonly string[] = []

  constructor(options: RetentionOptions) {
    const { directory, database, store, inventory, custody, readers, clock, logger } = options
    this.#options = options
    this.#policy = options.policy
    this.#lane = new PlanLane(options.indexFile)
    this.#history = new SweepStore(database)
    const last = this.#history.list({ limit: 1 }).reports[0]
    if (last !== undefined) options.metrics.remember(last)
    this.#orphans = new OrphanWatch({
      store: new GonePodStore(database),
      listPodUids: options.listPodUids,
      logger,
    })
    const log = new RetentionLog(logger)
    this.#sweeper = new Sweeper({
      directory,
      store,
      custody,
      isInUse: (id) => readers.isInUse(id) || this.#capturedNow().has(id),
      now: () => clock.now(),
      planner: { open: (order) => this.#open(order) },
      exclude: (ids) => {
        inventory.exclude(ids)
      },
      release: (ids) => {
        inventory.release(ids)
      },
      forget: (removed) => {
        inventory.forget(removed)
      },
      recheck: async (ids) => {
        const names = ids.flatMap((id) => store.find(id)?.rawName ?? [])
        await Promise.all(names.map((name) => inventory.refresh(name)))
      },
      onLeft: async (id) => {
        // Changes found during the planned removal are not recorded yet.
        const row = store.find(id)
        await (row === undefined ? custody.gone(id) : custody.looked(row))
      },
      onError: (id, reason) => {
        this.#showTrouble(id, reason)
      },
      onReport: (report) => {
        options.metrics.count(report)
        const isNews = log.tell(report)
        if (isNews || report.trigger !== 'disk') this.#history.add(report.id, report)
      },
      clock,
      logger,
    })
    this.#triggers = new SweepTriggers({
      directory,
      policy: () => this.#policy,
      sweep: async (order) => {
        await this.#tidyStaging()
        return await this.#sweeper.sweep(order)
      },
      logger,
    })
    this.#unwatch = inventory.events.watch(undefined, ({ type, checkpoint, checkpointId: id }) => {
      if (type === 'removed' && id !== undefined) this.#sweeper.noteRemoved(id)
      if (checkpoint?.state === 'ready') this.#triggers.noteGrowth()
    })
  }

  /** Starts retention. Call it after the custody log and the directory have been read. */
  async start(): Promise<void> {
    const { custody, store } = this.#options
    await settleRemovals(custody.interruptedRemovals, {
      find: (id) => store.find(id),
      noteAll: (drafts) => custody.noteAll(drafts),
    })
    this.#orphans.start()
    this.#triggers.start()
    this.#started.resolve()
  }

  /** Stops retention. A sweep under way ends after its current batch. */
  async stop(): Promise<void> {
    this.#unwatch()
    await Promise.all([this.#sweeper.stop(), this.#triggers.stop(), this.#orphans.stop()])
    await this.#lane.close()
  }

  /** Activates this policy. */
  usePolicy(policy: Policy): void {
    this.#policy = policy
    this.#mistakes = []
    this.#triggers.reschedule()
    this.#options.logger.info({ policy }, 'Another retention policy is in force')
  }

  /** Reports mistakes in a new policy. The active policy stays in force. */
  refusePolicy(mistakes: readonly string[]): void {
    this.#mistakes = mistakes
    this.#options.logger.error({ mistakes }, 'Cannot read the retention policy; the one before stays in force')
  }

  status(): RetentionStatus {
    return {
      policy: writePolicy(this.#policy),
      mistakes: this.#mistakes,
      isSweeping: this.#sweeper.isSweeping,
      nextSweepAt: this.#triggers.nextRun,
      lastSweep: this.#history.list({ limit: 1 }).reports[0],
    }
  }

  /**
   * Computes a plan for the active policy or for this one, given as in the policy file. Throws InvalidInputError
   * (`InvalidPolicy`).
   */
  async plan({
    policy,
    withKept = false,
  }: {
    readonly policy?: unknown
    readonly withKept?: boolean
  }): Promise<OpenPlan> {
    return await this.#open({ withKept, ...(policy !== undefined && { policy: parsePolicy(policy) }) })
  }

  async sweep(order: SweepRequest): Promise<SweepReport> {
    await this.#started.promise
    return await this.#sweeper.sweep(order)
  }

  /** Lists reports of sweeps, newest first. */
  history(page: { readonly limit: number; readonly before?: string }): {
    readonly reports: readonly SweepReport[]
    readonly remaining: number
  } {
    return this.#history.list(page)
  }

  /** Sweeps until this much additional space is free. Archives that the policy keeps are not removed. */
  async makeRoom(wantedBytes: number): Promise<void> {
    try {
      await this.#started.promise
      await this.#sweeper.idle()
      await this.#sweeper.sweep({ trigger: 'capture', wantedBytes })
    } catch (error) {
      this.#options.logger.warn({ wantedBytes, error: errorText(error) }, 'Cannot make room for a capture')
    }
  }

  /** Returns the reason why retention would remove an archive like this one, or undefined if it may stay. */
  rejectionReason({
    namespace,
    pod,
    container,
    engine,
    sizeBytes,
  }: Omit<Newcomer, 'engine'> & { readonly engine: string | undefined }): string | undefined {
    const isKnown = engine === 'containerd' || engine === 'cri-o'
    return refusalOf({ namespace, pod, container, engine: isKnown ? engine : 'unknown', sizeBytes }, this.#policy)
  }

  async #open({ policy, wantedBytes = 0, withKept = false }: OpenPlanRequest): Promise<OpenPlan> {
    const { directory, clock, readers } = this.#options
    const disk = await readDiskSpace(directory)
    return await this.#lane.plan({
      policy: policy ?? this.#policy,
      nowMillis: clock.now().getTime(),
      disk: { ...disk, freeBytes: Math.max(0, disk.freeBytes - wantedBytes) },
      inUse: [...readers.listInUse(), ...this.#capturedNow()],
      withKept,
    })
  }

  /**
   * Returns archives whose capture is not over, since they may be published already. The cache is safe: an archive to
   * be removed has been ready for longer than the cache is valid.
   */
  #capturedNow(): ReadonlySet<string> {
    const now = performance.now()
    if (now - this.#captured.at < CAPTURED_HOLDS_MS) return this.#captured.ids
    const names = this.#options.jobs.listUnfinished().flatMap(({ traces }) => traces.publishedName ?? [])
    this.#captured = { at: now, ids: new Set(names.map((name) => checkpointId(name))) }
    return this.#captured.ids
  }

  #showTrouble(id: string, reason: string | undefined): void {
    const { store, inventory } = this.#options
    const row = store.find(id)
    if (row === undefined) return
    const shown = withTrouble(row, reason)
    store.saveAll([shown])
    inventory.events.emit('changed', shown)
  }

  /** Removes staging directories without a capture, which a failed capture may have left. */
  async #tidyStaging(): Promise<void> {
    const { staging, jobs, clock, logger } = this.#options
    try {
      for (const name of await staging.listLeftovers()) {
        const isOld = clock.now().getTime() - (await lastTouched(join(staging.root, name))) > LEFTOVER_MS
        // Checked last: a capture has its row before its directory.
        const isWanted = jobs.listUnfinished().some(({ traces }) => traces.stagingId === name)
        if (isOld && !isWanted) await staging.remove(name)
      }
    } catch (error) {
      logger.warn({ error: errorText(error) }, 'Cannot clear the staging folder')
    }
  }
}

const CAPTURED_HOLDS_MS = 100
const LEFTOVER_MS = 3_600_000

/**
 * Returns the latest modification time of the directory and its files. Writes to a file do not change the directory.
 */
async function lastTouched(folder: string): Promise<number> {
  const paths = [folder, ...(await readdir(folder)).map((name) => join(folder, name))]
  return Math.max(...(await Promise.all(paths.map(async (path) => (await lstat(path)).mtimeMs))))
}

function parsePolicy(value: unknown): Policy {
  const { policy, mistakes } = readPolicy(value)
  if (mistakes.length === 0) return policy
  throw new InvalidInputError(
    `Cannot read the policy: ${mistakes.map(({ key, reason }) => `${key}: ${reason}`).join('; ')}`,
    { code: 'InvalidPolicy', hint: 'docs/concepts/retention.md says what a policy may hold.' },
  )
}
