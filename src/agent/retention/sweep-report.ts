import type { Blocked } from '../../retention/plan-types.ts'

export type SweepTrigger = 'schedule' | 'disk' | 'capture' | 'api'

/** An archive that the plan named and that is still there. */
export interface LeftArchive {
  readonly id: string
  readonly fileName: string
  /** `PruneFailed`: the file system refused it. Anything else: it is not as it was planned any more. */
  readonly code: string
  readonly reason: string
}

export interface Count {
  readonly count: number
  readonly bytes: number
}

/** What one sweep did; kept as JSON. */
export interface SweepReport {
  readonly id: string
  readonly startedAt: string
  readonly millis: number
  readonly trigger: SweepTrigger
  readonly user: string
  readonly planId: string
  /** `stopped`: the rest is for the next one. */
  readonly outcome: 'done' | 'stopped' | 'failed'
  readonly error?: { readonly code: string; readonly detail: string }
  readonly removed: Count
  readonly byRule: Readonly<Record<string, Count>>
  readonly failed: { readonly count: number; readonly archives: readonly LeftArchive[] }
  readonly skipped: { readonly count: number; readonly archives: readonly LeftArchive[] }
  readonly blocked: readonly Blocked[]
  readonly diskNotOurs: boolean
}

/** A report names so many archives at most. */
const MAX_NAMED = 100

/** Adds up what the batches of one sweep did. */
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
