import type { CustodyEntry } from '../../custody/custody-entry.ts'

/** So many are remembered: what the inventory has to tell of a file is rarely later than that. */
const MAX_FILES = 10_000

/**
 * Files that we remove, or have removed a moment ago. What the inventory found out about them before comes late, and an
 * entry of it after the last one would bring them back to life.
 */
export class LeavingFiles {
  readonly #generations = new Map<string, string>()

  apply({ action, outcome, checkpoint, detail }: CustodyEntry): void {
    if (checkpoint === undefined || (action !== 'delete' && action !== 'prune')) return
    const generation = detail?.['generation']
    if (outcome === 'failed') this.#generations.delete(checkpoint.id)
    if (outcome !== 'intended' || typeof generation !== 'string') return
    this.#generations.set(checkpoint.id, generation)
    const [oldest] = this.#generations.keys()
    if (this.#generations.size > MAX_FILES && oldest !== undefined) this.#generations.delete(oldest)
  }

  /** A new file of the same name is another one. */
  has({ id, generation }: { readonly id: string; readonly generation: string }): boolean {
    return this.#generations.get(id) === generation
  }
}
