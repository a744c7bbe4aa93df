import type { CheckpointState } from '../../checkpoint/checkpoint.ts'
import type { ArchiveLook } from './archive-assessment.ts'

export interface Settling {
  readonly state: CheckpointState
  /** When to look again although nothing happens to the file; undefined where that would show nothing new. */
  readonly recheckMs: number | undefined
}

interface Unsettled {
  readonly generation: string
  /** On the monotonic clock. */
  readonly since: number
  /** What our own repair of its rights made of the file's time of change. */
  readonly repairedNs: bigint | undefined
}

/**
 * Tells finished archives from those that are still being written. Whole and left alone for a while is finished; so is, at
 * once, what was renamed, linked or otherwise changed as a file after its last write: writers do that when they are done.
 * (That somebody closes a file is told to nobody here: Node passes on no such event.)
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
