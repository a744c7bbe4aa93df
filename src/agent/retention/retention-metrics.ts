import { Counter, Gauge, type Registry } from 'prom-client'
import type { SweepReport } from '../../checkpoint/sweep-report.ts'

/** Metrics of sweeps. The names of rules come from the operator's policy. */
export class RetentionMetrics {
  readonly #removed: Counter<'rule'>
  readonly #removedBytes: Counter<'rule'>
  readonly #sweeps: Counter<'outcome'>
  readonly #failed: Gauge
  readonly #lastSuccess: Gauge
  readonly #seconds: Gauge
  readonly #blockedByPins: Gauge
  readonly #overLimitBytes: Gauge
  readonly #diskNotOurs: Gauge

  constructor(registry: Registry) {
    const registers = [registry]
    const prefix = 'checkpoint_agent_retention'
    const labelNames = ['rule'] as const
    this.#removed = new Counter({
      name: `${prefix}_removed_total`,
      help: 'Archives that retention removed, by the rule that said so',
      labelNames,
      registers,
    })
    this.#removedBytes = new Counter({
      name: `${prefix}_removed_bytes_total`,
      help: 'Their bytes, by rule',
      labelNames,
      registers,
    })
    this.#sweeps = new Counter({
      name: `${prefix}_sweeps_total`,
      help: 'Sweeps, by how they ended: done, stopped or failed',
      labelNames: ['outcome'],
      registers,
    })
    for (const outcome of ['done', 'stopped', 'failed']) this.#sweeps.inc({ outcome }, 0)
    const gauge = (name: string, help: string) => new Gauge({ name: `${prefix}_${name}`, help, registers })
    this.#failed = gauge('failed_removals', 'Archives that the last sweep was not able to remove')
    this.#lastSuccess = gauge('last_success_timestamp_seconds', 'When a sweep last came to its end; 0: never yet')
    this.#seconds = gauge('last_duration_seconds', 'How long the last sweep took')
    this.#blockedByPins = gauge('blocked_by_pins', 'Pinned archives that are in the way of a limit')
    this.#overLimitBytes = gauge('over_limit_bytes', 'Bytes beyond limits that pins, readers or keep rules hold')
    this.#diskNotOurs = gauge('disk_not_ours', 'Whether something else than archives fills their disk')
  }

  /** Restores the time of the last success from a report of this run or an earlier one. */
  remember({ outcome, startedAt }: SweepReport): void {
    if (outcome === 'done') this.#lastSuccess.set(Date.parse(startedAt) / 1000)
  }

  count(report: SweepReport): void {
    for (const [rule, { count, bytes }] of Object.entries(report.byRule)) {
      this.#removed.inc({ rule }, count)
      this.#removedBytes.inc({ rule }, bytes)
    }
    this.#sweeps.inc({ outcome: report.outcome })
    this.#failed.set(report.failed.count)
    this.#seconds.set(report.millis / 1000)
    this.remember(report)
    const pinned = report.blocked.flatMap(({ by }) => by).filter(({ why }) => why === 'pinned')
    this.#blockedByPins.set(new Set(pinned.map(({ id }) => id)).size)
    this.#overLimitBytes.set(report.blocked.reduce((sum, { overBytes }) => sum + overBytes, 0))
    this.#diskNotOurs.set(Number(report.diskNotOurs))
  }
}
