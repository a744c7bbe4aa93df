import { ulid } from 'ulid'
import type { CaptureJob } from '../../checkpoint/capture-job.ts'
import type { Checkpoint } from '../../checkpoint/checkpoint.ts'
import type { NodeEvent } from '../../checkpoint/node-event.ts'

/** Number of events that a client can catch up on after a disconnect. */
const KEPT = 1_000

/**
 * Sends events about the archives and captures of this node. A client that reconnects receives the recent events that
 * it missed.
 */
export class NodeEvents {
  /** Part of each event's ID, so that IDs of earlier runs are not mistaken for those of this one. */
  readonly #run = ulid()
  readonly #listeners = new Set<(event: NodeEvent) => void>()
  readonly #kept: NodeEvent[] = []
  #count = 0

  emit(type: 'added' | 'changed', checkpoint: Checkpoint): void {
    this.#send({ id: this.#nextId(), type, checkpoint, checkpointId: checkpoint.id })
  }

  emitRemoved(checkpointId: string, namespace?: string): void {
    const of = namespace === undefined ? {} : { namespace }
    this.#send({ id: this.#nextId(), type: 'removed', checkpointId, ...of })
  }

  /** Reports a new state of the job. */
  emitCapture(job: CaptureJob): void {
    this.#send({ id: this.#nextId(), type: 'capture', job })
  }

  /**
   * Reports progress of the job to connected clients. It has the ID of the previous event, so that a client that
   * reconnects with that ID misses nothing.
   */
  emitProgress(job: CaptureJob): void {
    this.#tell({ id: `${this.#run}-${this.#count}`, type: 'capture', job })
  }

  /** Sends the events after `lastEventId`, then new ones. Returns a function that ends the watch. */
  watch(lastEventId: string | undefined, onEvent: (event: NodeEvent) => void): () => void {
    for (const event of this.#missed(lastEventId)) onEvent(event)
    this.#listeners.add(onEvent)
    return () => this.#listeners.delete(onEvent)
  }

  #missed(lastEventId: string | undefined): readonly NodeEvent[] {
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

  #send(event: NodeEvent): void {
    this.#kept.push(event)
    if (this.#kept.length > KEPT) this.#kept.shift()
    this.#tell(event)
  }

  #tell(event: NodeEvent): void {
    for (const listener of this.#listeners) listener(event)
  }
}
