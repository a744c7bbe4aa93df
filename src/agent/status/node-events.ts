import { ulid } from 'ulid'
import type { CaptureJob } from '../../checkpoint/capture-job.ts'
import type { Checkpoint } from '../../checkpoint/checkpoint.ts'
import type { NodeEvent } from '../../checkpoint/node-event.ts'

/** How many events one who was away can catch up on. */
const KEPT = 1_000

/** Tells those who watch what happens to the archives and captures of this node, the last while of it again. */
export class NodeEvents {
  /** Ids of an earlier run of the agent mean nothing to this one. */
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

  /** The job has got into another state. */
  emitCapture(job: CaptureJob): void {
    this.#send({ id: this.#nextId(), type: 'capture', job })
  }

  /**
   * More of it is written. For those who watch now: who was away learns from the next state. It goes under the number of
   * the event before it, so that whoever comes back with that number misses nothing.
   */
  emitProgress(job: CaptureJob): void {
    this.#tell({ id: `${this.#run}-${this.#count}`, type: 'capture', job })
  }

  /** First what came after that event, then what comes. Returns how to end it. */
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
