/** Tracks which archives are being read. Such an archive is protected from removal for a limited time. */
export class Readers {
  readonly #maxHoldMs: number
  readonly #holds = new Map<string, Set<{ readonly since: number }>>()

  /** Limits each hold to `maxHoldMs`, so that a reader that never ends cannot protect its archive forever. */
  constructor(maxHoldMs: number) {
    this.#maxHoldMs = maxHoldMs
  }

  /** Holds an archive and returns a function that ends the hold. Calling that function twice is safe. */
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
