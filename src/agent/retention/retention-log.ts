import type { Logger } from '../../shared/logger.ts'
import type { SweepReport } from '../../checkpoint/sweep-report.ts'

/** Logs the results of sweeps and the obstacles of limits. Logs an obstacle once until it changes. */
export class RetentionLog {
  readonly #logger: Logger
  #said = ''

  constructor(logger: Logger) {
    this.#logger = logger
  }

  /** Logs a report. Returns whether it has anything new. */
  tell(report: SweepReport): boolean {
    const { id, trigger, planId, outcome, error, removed, byRule, failed, skipped } = report
    const isBusy = removed.count + failed.count + skipped.count > 0 || outcome !== 'done'
    if (isBusy) {
      const fields = { sweep: id, trigger, planId, outcome, error, removed, byRule, failed, skipped: skipped.count }
      if (outcome === 'failed' || failed.count > 0) this.#logger.error(fields, 'A sweep could not remove everything')
      else this.#logger.info(fields, 'Swept')
    }
    return this.#tellObstacles(report) || isBusy
  }

  #tellObstacles({ blocked, diskNotOurs }: SweepReport): boolean {
    const text = JSON.stringify({
      diskNotOurs,
      blocked: blocked.map(({ limit, by }) => [limit, by.map(({ id }) => id)]),
    })
    if (text === this.#said) return false
    this.#said = text
    for (const { limit, overBytes, overCount, by } of blocked) {
      const names = (wanted: string) => by.filter(({ why }) => why === wanted).map(({ fileName }) => fileName)
      const fields = {
        limit,
        overBytes,
        overCount,
        pinned: names('pinned'),
        inUse: names('inUse'),
        kept: names('kept'),
      }
      this.#logger.warn(fields, 'Cannot reach a limit: these archives are in its way')
    }
    if (diskNotOurs) this.#logger.warn({ code: 'DiskNotOurs' }, 'Something else than archives fills their disk')
    return true
  }
}
