import { ulid } from 'ulid'
import type { Checkpoint } from '../checkpoint/checkpoint.ts'

export interface InventoryEvent {
  readonly id: string
  /** `resync`: events were missed; read the list again. */
  readonly type: 'added' | 'changed' | 'removed' | 'resync'
  readonly checkpoint?: Checkpoint
  readonly checkpointId?: string
}

/** How many events one who was away can catch up on. */
const KEPT = 1_000

/** Tells those who watch what happens in the inventory, the last while of it again. */
export class InventoryEvents {
  /** Ids of an earlier run of the agent mean nothing to this one. */
  readonly #run = ulid()
  readonly #listeners = new Set<(event: InventoryEvent) => void>()
  readonly #kept: InventoryEvent[] = []
  #count = 0

  emit(type: 'added' | 'changed', checkpoint: Checkpoint): void {
    this.#send({ id: this.#nextId(), type, checkpoint, checkpointId: checkpoint.id })
  }

  emitRemoved(checkpointId: string): void {
    this.#send({ id: this.#nextId(), type: 'removed', checkpointId })
  }

  /** First what came after that event, then what comes. Returns how to end it. */
  watch(lastEventId: string | undefined, onEvent: (event: InventoryEvent) => void): () => void {
    for (const event of this.#missed(lastEventId)) onEvent(event)
    this.#listeners.add(onEvent)
    return () => this.#listeners.delete(onEvent)
  }

  #missed(lastEventId: string | undefined): readonly InventoryEvent[] {
    if (lastEventId === undefined) return []
    const [run, number] = lastEventId.split('-')
    const last = Number(number)
    const isOurs = run === this.#run && Number.isSafeInteger(last) && last <= this.#count
    const isKept = this.#count - last <= this.#kept.length
    if (!isOurs || !isKept) return [{ id: `${this.#run}-${this.#count}`, type: 'resync' }]
    return last === this.#count ? [] : this.#kept.slice(last - this.#count)
  }

  #nextId(): string {
    this.#count += 1
    return `${this.#run}-${this.#count}`
  }

  #send(event: InventoryEvent): void {
    this.#kept.push(event)
    if (this.#kept.length > KEPT) this.#kept.shift()
    for (const listener of this.#listeners) listener(event)
  }
}
