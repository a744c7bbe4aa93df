import type { CustodyEntry } from '../../custody/custody-entry.ts'

/** Maximum number of files. The inventory seldom reports on a file after this many others. */
const MAX_FILES = 10_000

/**
 * Remembers files that the agent is removing or has just removed. The inventory may report on them late, and an entry
 * after the final one would make them reappear.
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

  /** Returns whether this generation of the file is leaving. A new file of the same name is not. */
  has({ id, generation }: { readonly id: string; readonly generation: string }): boolean {
    return this.#generations.get(id) === generation
  }
}
