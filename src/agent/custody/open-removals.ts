import type { CustodyCheckpoint, CustodyEntry } from '../../custody/custody-entry.ts'

/** A removal that was announced without a record of its end. */
export interface OpenRemoval {
  readonly action: 'delete' | 'prune'
  readonly checkpoint: CustodyCheckpoint
  /** Generation of the file to remove. Older entries do not have it. */
  readonly generation: string | undefined
}

/** Tracks the removals under way from the entries of the log. After a crash, its entries are those without an end. */
export class OpenRemovals {
  readonly #byId = new Map<string, OpenRemoval>()

  apply({ action, outcome, checkpoint, detail }: CustodyEntry): void {
    if (checkpoint === undefined || (action !== 'delete' && action !== 'prune')) return
    if (outcome !== 'intended') {
      this.#byId.delete(checkpoint.id)
      return
    }
    const generation = detail?.['generation']
    this.#byId.set(checkpoint.id, {
      action,
      checkpoint,
      generation: typeof generation === 'string' ? generation : undefined,
    })
  }

  list(): readonly OpenRemoval[] {
    return [...this.#byId.values()]
  }
}
