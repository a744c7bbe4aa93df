import { lstatSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, utimesSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { lookAtArchive } from '../../../src/agent/inventory/single-look.ts'
import type { Planner } from '../../../src/agent/retention/planner.ts'
import type { SweepReport } from '../../../src/checkpoint/sweep-report.ts'
import { Sweeper, type SweeperOptions } from '../../../src/agent/retention/sweeper.ts'
import type { CustodyDraft } from '../../../src/custody/custody-entry.ts'
import { planRetention } from '../../../src/retention/plan.ts'
import type { PlannedDisk } from '../../../src/retention/plan-types.ts'
import { SHIPPED_POLICY, SHIPPED_RULE, type Policy } from '../../../src/retention/policy.ts'
import { silentLogger } from '../../../src/shared/logger.ts'
import { CheckpointStore } from '../../../src/store/checkpoint-store.ts'
import { openDatabase } from '../../../src/store/database.ts'
import { withRetentionRows } from '../../../src/store/retention-rows.ts'
import { writeArchive } from '../../support/archive-builder.ts'
import { inProcessReader } from '../../support/in-process-reader.ts'

export const NOW = new Date('2026-06-20T12:00:00Z')
const HOUR_MS = 3_600_000

/** Keeps the newest of each workload's container, and nothing else. */
export const KEEP_ONE: Policy = {
  ...SHIPPED_POLICY,
  rules: [
    {
      ...SHIPPED_RULE,
      name: 'one',
      isShipped: false,
      limits: { maxCount: { workloadContainer: 1 }, maxTotalBytes: {} },
    },
  ],
}

/** A directory with archives, its index, and a sweeper over both that plans in this process. */
export class SweepScene implements Disposable {
  readonly root = mkdtempSync(join(tmpdir(), 'sweep-'))
  readonly directory = join(this.root, 'checkpoints')
  readonly entries: CustodyDraft[] = []
  readonly reports: SweepReport[] = []
  readonly left: string[] = []
  readonly troubles: (readonly [id: string, reason: string | undefined])[] = []
  readonly inUse = new Set<string>()
  /** What the inventory would not look at now. */
  readonly exclude = new Set<string>()
  readonly store: CheckpointStore
  readonly sweeper: Sweeper
  policy = KEEP_ONE
  now = NOW
  disk: PlannedDisk | undefined
  /** Called when entries are about to be written: between the plan and the removal. */
  onAnnounce: () => void = () => undefined
  readonly #indexFile = join(this.root, 'state', 'index.db')
  readonly #database

  constructor(changes: Partial<SweeperOptions> = {}) {
    const clock = { now: () => this.now }
    this.#database = openDatabase({ file: this.#indexFile, clock, logger: silentLogger })
    this.store = new CheckpointStore(this.#database)
    mkdirSync(this.directory, { mode: 0o700 })
    this.sweeper = new Sweeper({
      directory: this.directory,
      store: this.store,
      custody: {
        recordRemovals: (drafts) => {
          this.onAnnounce()
          this.entries.push(...drafts)
          return Promise.resolve()
        },
        noteAll: (drafts) => {
          this.entries.push(...drafts)
          return Promise.resolve()
        },
      },
      isInUse: (id) => this.inUse.has(id),
      now: clock.now,
      planner: this.planner,
      exclude: (ids) => {
        for (const id of ids) this.exclude.add(id)
      },
      release: (ids) => {
        for (const id of ids) this.exclude.delete(id)
      },
      forget: (removed) => void this.store.removeAll(removed),
      recheck: (ids) => this.recheck(ids),
      onLeft: (id) => {
        this.left.push(id)
        return Promise.resolve()
      },
      onError: (id, reason) => this.troubles.push([id, reason]),
      onReport: (report) => this.reports.push(report),
      clock,
      logger: silentLogger,
      ...changes,
    })
  }

  get planner(): Planner {
    return {
      open: () => {
        const nowMillis = this.now.getTime()
        const { policy, disk } = this
        const plan = withRetentionRows(this.#indexFile, { nowMillis, inUse: this.inUse }, (archives) =>
          planRetention({ archives, policy, nowMillis, ...(disk !== undefined && { disk }) }),
        )
        return Promise.resolve({
          head: plan,
          page: (list, { skip, count }) => Promise.resolve(plan[list].slice(skip, skip + count)),
          [Symbol.dispose]: () => undefined,
        })
      },
    }
  }

  get files(): string[] {
    return readdirSync(this.directory).toSorted()
  }

  get actions(): string[] {
    return this.entries.map(({ action, outcome, checkpoint }) => `${action} ${outcome} ${checkpoint?.fileName ?? ''}`)
  }

  path(name: string): string {
    return join(this.directory, name)
  }

  idOf(name: string): string {
    const moment = { nowMillis: this.now.getTime(), inUse: this.inUse }
    const id = withRetentionRows(this.#indexFile, moment, (rows) => rows.find(({ fileName }) => fileName === name)?.id)
    if (id === undefined) throw new Error(`There is no row of ${name}`)
    return id
  }

  /** As at its beginning. */
  empty(): void {
    for (const name of readdirSync(this.directory)) rmSync(this.path(name))
    this.#database.exec('DELETE FROM checkpoints; DELETE FROM names')
    for (const list of [this.entries, this.reports, this.left, this.troubles]) list.length = 0
    this.inUse.clear()
  }

  /** As if a pod had been seen to be gone for so long. */
  countGone(podUid: string, millis: number): void {
    this.#database.prepare('INSERT OR IGNORE INTO names (name) VALUES (?)').run(podUid)
    const number = '(SELECT number FROM names WHERE name = ?)'
    this.#database.prepare(`INSERT INTO gone_pods (number, since_ms) VALUES (${number}, ?)`).run(podUid, -millis)
  }

  /** Archives of the container shop/web/counter, one an hour, the newest last. Ready, all of them. */
  async fill(count: number): Promise<string[]> {
    const names: string[] = []
    for (let at = 0; at < count; at += 1) names.push(await this.add(count - at))
    return names
  }

  async add(hoursAgo: number): Promise<string> {
    const takenAt = new Date(NOW.getTime() - hoursAgo * HOUR_MS)
    const name = `checkpoint-web_shop-counter-${takenAt.toISOString().replace('.000', '')}.tar`
    writeArchive(this.path(name), { pod: 'web', checkpointedAt: takenAt })
    utimesSync(this.path(name), takenAt, takenAt)
    await this.#index(name)
    return name
  }

  /** As the inventory does it. */
  async recheck(ids: readonly string[]): Promise<void> {
    for (const id of ids) {
      const row = this.store.find(id)
      if (row === undefined) continue
      const stat = lstatSync(this.path(row.fileName), { throwIfNoEntry: false })
      if (stat === undefined) this.store.removeAll([row])
      else await this.#index(row.fileName)
    }
  }

  /** What the file system has in place of the archive of that name. */
  isThere(name: string): boolean {
    return statSync(this.path(name), { throwIfNoEntry: false }) !== undefined
  }

  [Symbol.dispose](): void {
    this.#database.close()
    rmSync(this.root, { recursive: true })
  }

  async #index(name: string): Promise<void> {
    const { directory } = this
    const reader = inProcessReader(directory)
    const look = await lookAtArchive(Buffer.from(name), { directory, permissions: 'report', reader, now: NOW })
    if (look === undefined) throw new Error(`Cannot read ${name}`)
    this.store.saveAll([{ ...look.checkpoint, state: 'ready', sha256: 'a'.repeat(64) }])
  }
}
