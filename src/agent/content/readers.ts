/** Who reads which archive: what is being read is not removed, for a while. */
export class Readers {
  readonly #maxHoldMs: number
  readonly #holds = new Map<string, Set<{ readonly since: number }>>()

  /** A reader holds its archive for this long at most: one that never ends must not keep it for ever. */
  constructor(maxHoldMs: number) {
    this.#maxHoldMs = maxHoldMs
  }

  /** Returns what ends the hold; to call it twice does no harm. */
  hold(checkpointId: string): () => void {
    const hold = { since: performance.now() }
    const holds = this.#holds.get(checkpointId) ?? new Set()
    this.#holds.set(checkpointId, holds.add(hold))
    return () => {
      holds.delete(hold)
      if (holds.size === 0 && this.#holds.get(checkpointId) === holds) this.#holds.delete(checkpointId)
    }
  }

  listInUse(): readonly string[] {
    return [...this.#holds.keys()].filter((id) => this.isInUse(id))
  }

  isInUse(checkpointId: string): boolean {
    const oldest = performance.now() - this.#maxHoldMs
    return [...(this.#holds.get(checkpointId) ?? [])].some(({ since }) => since > oldest)
  }
}
