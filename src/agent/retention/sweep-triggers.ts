import { schedule, type ScheduledTask } from 'node-cron'
import { setTimeout as sleep } from 'node:timers/promises'
import { bytesUntilTooFull, missingBytes } from '../../retention/disk-relief.ts'
import type { Policy } from '../../retention/policy.ts'
import { AgentError, errorText } from '../../shared/errors.ts'
import type { Logger } from '../../shared/logger.ts'
import { readDiskSpace, type DiskSpace } from '../directory/disk-space.ts'
import type { SweepReport } from '../../checkpoint/sweep-report.ts'

export interface SweepTriggersOptions {
  readonly directory: string
  readonly policy: () => Policy
  readonly sweep: (order: { readonly trigger: 'schedule' | 'disk' }) => Promise<SweepReport>
  readonly logger: Logger
  readonly readDisk?: () => Promise<DiskSpace>
  readonly diskEveryMs?: number
}

const DISK_EVERY_MS = 2_000
/** Minimum time between checks of the disk, if it fills quickly or archives were added. */
const SOON_MS = 250
/** Longest pause after sweeps that could not free a full disk, to limit the cost of planning. */
const LONGEST_REST_MS = 60_000

/** Triggers sweeps on schedule and when the disk is nearly full. */
export class SweepTriggers {
  readonly #options: SweepTriggersOptions
  readonly #stop = new AbortController()
  #task: ScheduledTask | undefined
  #loop: Promise<void> | undefined
  #wake: (() => void) | undefined
  #notBefore = 0
  #seen: (DiskSpace & { readonly at: number }) | undefined
  #planMs = 0
  #fruitless = 0
  #lastTrouble: string | undefined

  constructor(options: SweepTriggersOptions) {
    this.#options = options
  }

  start(): void {
    this.reschedule()
    this.#loop = this.#watchDisk()
  }

  async stop(): Promise<void> {
    this.#stop.abort()
    this.#wake?.()
    await this.#task?.destroy()
    await this.#loop
  }

  /** Applies the schedule of the current policy. */
  reschedule(): void {
    void this.#task?.destroy()
    this.#task = undefined
    const { schedule: when, timeZone } = this.#options.policy()
    if (when === '' || this.#stop.signal.aborted) return
    this.#task = schedule(when, () => this.#sweep('schedule').then(() => undefined), {
      timezone: timeZone,
      noOverlap: true,
    })
  }

  get nextRun(): Date | undefined {
    return this.#task?.getNextRun() ?? undefined
  }

  /** Notes that an archive was added or may now be removed. */
  noteGrowth(): void {
    this.#fruitless = 0
    this.#notBefore = Math.min(this.#notBefore, performance.now() + 4 * this.#planMs)
    this.#wake?.()
  }

  async #watchDisk(): Promise<void> {
    const { signal } = this.#stop
    while (!signal.aborted) {
      const restMs = await this.#lookAtDisk()
      await sleep(SOON_MS, undefined, { signal, ref: false }).catch(() => undefined)
      await this.#rest(restMs - SOON_MS)
    }
  }

  async #rest(millis: number): Promise<void> {
    const over = Promise.withResolvers<void>()
    this.#wake = over.resolve
    const timer = setTimeout(over.resolve, Math.max(0, millis)).unref()
    if (!this.#stop.signal.aborted) await over.promise
    clearTimeout(timer)
    this.#wake = undefined
  }

  /** Checks the disk and returns the time until the next check. */
  async #lookAtDisk(): Promise<number> {
    const { directory, policy, diskEveryMs = DISK_EVERY_MS } = this.#options
    const readDisk = this.#options.readDisk ?? (() => readDiskSpace(directory))
    const disk = await readDisk().catch(() => undefined)
    if (disk === undefined || missingBytes(disk, policy().disk) === 0) {
      this.#fruitless = 0
      this.#notBefore = 0
      return disk === undefined ? diskEveryMs : Math.min(diskEveryMs, this.#fullInMs(disk) / 2)
    }
    if (performance.now() < this.#notBefore) return diskEveryMs
    const begun = performance.now()
    const report = await this.#sweep('disk')
    this.#planMs = performance.now() - begun
    if (report !== undefined && report.removed.count > 0) return Math.min(diskEveryMs, 4 * this.#planMs)
    this.#fruitless += 1
    const restMs = Math.min(DISK_EVERY_MS * 2 ** this.#fruitless, LONGEST_REST_MS)
    this.#notBefore = performance.now() + Math.max(restMs, 4 * this.#planMs)
    return diskEveryMs
  }

  /** Returns the time until the disk is too full at the rate since the last check. */
  #fullInMs(disk: DiskSpace): number {
    const before = this.#seen
    this.#seen = { ...disk, at: performance.now() }
    if (before === undefined || before.freeBytes <= disk.freeBytes) return Number.POSITIVE_INFINITY
    const bytesPerMs = (before.freeBytes - disk.freeBytes) / (this.#seen.at - before.at)
    return bytesUntilTooFull(disk, this.#options.policy().disk) / bytesPerMs
  }

  async #sweep(trigger: 'schedule' | 'disk'): Promise<SweepReport | undefined> {
    try {
      const report = await this.#options.sweep({ trigger })
      this.#lastTrouble = undefined
      return report
    } catch (error) {
      const text = errorText(error)
      const isExpected = error instanceof AgentError && ['SweepRunning', 'ShuttingDown'].includes(error.code)
      if (!isExpected && text !== this.#lastTrouble) {
        this.#lastTrouble = text
        this.#options.logger.error({ trigger, error: text }, 'A sweep has failed')
      }
      return undefined
    }
  }
}
