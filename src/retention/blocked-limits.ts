import type { Candidate } from './candidates.ts'
import type { BlockedLimit } from '../checkpoint/sweep-report.ts'

export type Obstacle = BlockedLimit['by'][number]['why']

/** Returns the reason why an archive beyond its limits stays. */
export function obstacleOf({ archive, kept }: Candidate): Obstacle | undefined {
  if (archive.isPinned) return 'pinned'
  if (archive.isInUse) return 'inUse'
  return kept.length > 0 ? 'kept' : undefined
}

/** Collects the limits that cannot be reached, and the archives that block them. */
export class BlockedLimits {
  readonly #limits = new Map<
    string,
    { overBytes: number; overCount: number; readonly by: BlockedLimit['by'][number][] }
  >()

  add(one: Candidate): void {
    for (const { limit } of one.excesses) {
      const blocked = this.#of(limit)
      blocked.overBytes += one.archive.sizeBytes
      blocked.overCount += 1
      blocked.by.push(wordsFor(one))
    }
  }

  /** Records that the disk stays too full by this many bytes. */
  addForDisk(limit: string, overBytes: number, inTheWay: readonly Candidate[]): void {
    const blocked = this.#of(limit)
    blocked.overBytes = overBytes
    for (const one of inTheWay) blocked.by.push(wordsFor(one))
  }

  list(): BlockedLimit[] {
    return [...this.#limits]
      .map(([limit, blocked]) => ({ limit, ...blocked }))
      .toSorted((a, b) => (a.limit < b.limit ? -1 : 1))
  }

  #of(limit: string) {
    const blocked = this.#limits.get(limit) ?? { overBytes: 0, overCount: 0, by: [] }
    this.#limits.set(limit, blocked)
    return blocked
  }
}

function wordsFor(one: Candidate): BlockedLimit['by'][number] {
  const { id, fileName } = one.archive
  return { id, fileName, why: obstacleOf(one) ?? 'kept' }
}
