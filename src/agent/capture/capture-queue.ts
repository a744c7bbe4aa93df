import { UnavailableError } from '../../shared/errors.ts'

export interface QueuedWork {
  readonly jobId: string
  readonly containerIds: readonly string[]
  /** Must not reject. */
  readonly run: () => Promise<void>
}

export interface CaptureQueueOptions {
  /** Maximum number of captures that run at the same time on this node. */
  readonly concurrency: number
  /** Maximum number of captures that wait. */
  readonly limit: number
}

/**
 * Schedules captures: never two of one container at once, never more than the node's limit, and in order of arrival. A
 * capture that waits for its containers lets captures of other containers pass.
 */
export class CaptureQueue {
  readonly #concurrency: number
  readonly #limit: number
  #waiting: QueuedWork[] = []
  #running = 0
  #isOpen = true
  readonly #claims = new Map<string, { readonly jobId: string; count: number }>()

  constructor({ concurrency, limit }: CaptureQueueOptions) {
    this.#concurrency = concurrency
    this.#limit = limit
  }

  get counts(): { readonly running: number; readonly queued: number; readonly queueLimit: number } {
    return { running: this.#running, queued: this.#waiting.length, queueLimit: this.#limit }
  }

  /** Throws UnavailableError if the work would have to wait and the queue is full. */
  assertRoom(containerIds: readonly string[]): void {
    if (!this.#isOpen) {
      throw new UnavailableError('Cannot take a checkpoint: the agent is stopping', {
        code: 'ShuttingDown',
        hint: 'Ask again when the agent has been started anew.',
      })
    }
    const wanted = new Set(this.#waiting.flatMap((work) => work.containerIds))
    if (this.#waiting.length < this.#limit || this.#canStart(containerIds, wanted)) return
    throw new UnavailableError(`Cannot queue the checkpoint: ${this.#waiting.length} are waiting on this node`, {
      code: 'QueueFull',
      hint: 'Ask again later; capture.queueLimit and capture.concurrency set how many may wait and run.',
    })
  }

  enqueue(work: QueuedWork): void {
    this.assertRoom(work.containerIds)
    this.#waiting.push(work)
    this.#startWhatCan()
  }

  /** Removes waiting work. Returns false if the work already runs or is unknown. */
  remove(jobId: string): boolean {
    const before = this.#waiting.length
    this.#waiting = this.#waiting.filter((work) => work.jobId !== jobId)
    const isRemoved = this.#waiting.length < before
    this.#startWhatCan()
    return isRemoved
  }

  /** Returns the job that waits for, captures or winds down this container. */
  findJob(containerId: string): string | undefined {
    return (
      this.#claims.get(containerId)?.jobId ??
      this.#waiting.find(({ containerIds }) => containerIds.includes(containerId))?.jobId
    )
  }

  /**
   * Keeps other captures off a container until the promise settles, because its dump continues after the end of its
   * job.
   */
  hold(containerId: string, jobId: string, until: Promise<unknown>): void {
    this.#claim(containerId, jobId)
    const release = () => {
      this.#release(containerId)
      this.#startWhatCan()
    }
    until.then(release, release)
  }

  /** Starts no more work and returns the work that was waiting. */
  close(): readonly QueuedWork[] {
    this.#isOpen = false
    return this.#waiting.splice(0)
  }

  #canStart(containerIds: readonly string[], wantedBefore: ReadonlySet<string>): boolean {
    const isFree = (id: string) => !this.#claims.has(id) && !wantedBefore.has(id)
    return this.#isOpen && this.#running < this.#concurrency && containerIds.every(isFree)
  }

  /**
   * Starts all work that can run. No work passes earlier work for the same container, or the capture of a whole pod
   * could wait forever.
   */
  #startWhatCan(): void {
    const started: QueuedWork[] = []
    const waiting: QueuedWork[] = []
    const wanted = new Set<string>()
    for (const work of this.#waiting) {
      if (this.#canStart(work.containerIds, wanted)) {
        this.#running += 1
        for (const id of work.containerIds) this.#claim(id, work.jobId)
        started.push(work)
      } else {
        for (const id of work.containerIds) wanted.add(id)
        waiting.push(work)
      }
    }
    this.#waiting = waiting
    for (const work of started) this.#run(work)
  }

  #run({ containerIds, run }: QueuedWork): void {
    void run().finally(() => {
      this.#running -= 1
      for (const id of containerIds) this.#release(id)
      this.#startWhatCan()
    })
  }

  #claim(containerId: string, jobId: string): void {
    const count = this.#claims.get(containerId)?.count ?? 0
    this.#claims.set(containerId, { jobId, count: count + 1 })
  }

  #release(containerId: string): void {
    const claim = this.#claims.get(containerId)
    if (claim === undefined) return
    claim.count -= 1
    if (claim.count === 0) this.#claims.delete(containerId)
  }
}
