import type { CheckpointState } from '../../checkpoint/checkpoint.ts'
import type { ArchiveLook } from './archive-assessment.ts'

export interface Settling {
  readonly state: CheckpointState
  /** Delay before the file must be checked again without an event. Undefined if that would show nothing new. */
  readonly recheckMs: number | undefined
}

interface Unsettled {
  readonly generation: string
  /** Time on the monotonic clock. */
  readonly since: number
  /** Change time of the file after the agent repaired its permissions. */
  readonly repairedNs: bigint | undefined
}

/**
 * Distinguishes finished archives from those that are still being written. A whole archive is finished once it has been
 * unchanged for a while. It is finished at once if it was renamed, linked or otherwise changed after its last write,
 * because writers do that at the end. Node.js does not report that a file was closed.
 */
export class SettlingFiles {
  readonly #settleMs: number
  readonly #unsettled = new Map<string, Unsettled>()

  constructor(settleMs: number) {
    this.#settleMs = settleMs
  }

  judge({ end, checkpoint, stat, repairedNs }: ArchiveLook): Settling {
    const { id, generation } = checkpoint
    const now = performance.now()
    const known = this.#unsettled.get(id)
    const first = known?.generation === generation ? known : { generation, since: now, repairedNs: undefined }
    const isOld = Date.now() - Number(stat.mtimeMs) > this.#settleMs
    const ownChange = repairedNs ?? first.repairedNs
    const isMoved = stat.ctimeNs > stat.mtimeNs && stat.ctimeNs !== ownChange
    const isQuiet = isOld || isMoved || now - first.since >= this.#settleMs
    if (end !== 'incomplete' && isQuiet) {
      this.#unsettled.delete(id)
      return { state: end === 'whole' ? 'hashing' : 'damaged', recheckMs: undefined }
    }
    this.#unsettled.set(id, { ...first, repairedNs: ownChange })
    return {
      state: end === 'incomplete' ? 'incomplete' : 'discovered',
      recheckMs: isQuiet ? undefined : this.#settleMs - (now - first.since) + 10,
    }
  }

  forget(id: string): void {
    this.#unsettled.delete(id)
  }
}
