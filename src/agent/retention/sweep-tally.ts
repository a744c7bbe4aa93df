import type { Count, LeftArchive, SweepReport } from '../../checkpoint/sweep-report.ts'

/** Maximum number of archives that a report names. */
const MAX_NAMED = 100

/** Adds up the results of the batches of a sweep. */
export class SweepTally {
  readonly #byRule = new Map<string, { count: number; bytes: number }>()
  readonly #left = { failed: [] as LeftArchive[], skipped: [] as LeftArchive[] }
  readonly #counts = { failed: 0, skipped: 0 }

  removed(rule: string, bytes: number): void {
    const sum = this.#byRule.get(rule) ?? { count: 0, bytes: 0 }
    this.#byRule.set(rule, { count: sum.count + 1, bytes: sum.bytes + bytes })
  }

  left(kind: 'failed' | 'skipped', archive: LeftArchive): void {
    this.#counts[kind] += 1
    if (this.#left[kind].length < MAX_NAMED) this.#left[kind].push(archive)
  }

  get total(): Count {
    let [count, bytes] = [0, 0]
    for (const sum of this.#byRule.values()) {
      count += sum.count
      bytes += sum.bytes
    }
    return { count, bytes }
  }

  get figures(): Pick<SweepReport, 'removed' | 'byRule' | 'failed' | 'skipped'> {
    return {
      removed: this.total,
      byRule: Object.fromEntries(this.#byRule),
      failed: { count: this.#counts.failed, archives: this.#left.failed },
      skipped: { count: this.#counts.skipped, archives: this.#left.skipped },
    }
  }
}
