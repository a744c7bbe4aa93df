import type { CustodyCheckpoint, CustodyEntry } from '../../custody/custody-entry.ts'

/** A removal that was announced, and of which the log does not say how it ended. */
export interface OpenRemoval {
  readonly action: 'delete' | 'prune'
  readonly checkpoint: CustodyCheckpoint
  /** Of the file that was to go; older entries do not name it. */
  readonly generation: string | undefined
}

/** Entry by entry, the removals under way; after a crash, those that nobody will tell the end of. */
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
