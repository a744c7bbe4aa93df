import { UnavailableError } from '../../shared/errors.ts'

export interface QueuedWork {
  readonly jobId: string
  readonly containerIds: readonly string[]
  /** Must not reject. */
  readonly run: () => Promise<void>
}

export interface CaptureQueueOptions {
  /** How many captures the node takes at once. */
  readonly concurrency: number
  /** How many may wait. */
  readonly limit: number
}

/**
 * Who captures what, and when: never two captures of one container at once, no more than the node's limit, first come
 * first served, except that one that waits for its containers lets those of other containers pass.
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

  /** Throws an UnavailableError when the work would have to wait and too many wait already. */
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

  /** Takes it out again. False when it runs already, or is not known. */
  remove(jobId: string): boolean {
    const before = this.#waiting.length
    this.#waiting = this.#waiting.filter((work) => work.jobId !== jobId)
    const isRemoved = this.#waiting.length < before
    this.#startWhatCan()
    return isRemoved
  }

  /** The job that waits for, captures or winds down this container. */
  findJob(containerId: string): string | undefined {
    return (
      this.#claims.get(containerId)?.jobId ??
      this.#waiting.find(({ containerIds }) => containerIds.includes(containerId))?.jobId
    )
  }

  /** Keeps others off a container whose dump goes on though its job has ended, until the promise settles. */
  hold(containerId: string, jobId: string, until: Promise<unknown>): void {
    this.#claim(containerId, jobId)
    const release = () => {
      this.#release(containerId)
      this.#startWhatCan()
    }
    until.then(release, release)
  }

  /** Lets no new work begin and gives back what was waiting. */
  close(): readonly QueuedWork[] {
    this.#isOpen = false
    return this.#waiting.splice(0)
  }

  #canStart(containerIds: readonly string[], wantedBefore: ReadonlySet<string>): boolean {
    const isFree = (id: string) => !this.#claims.has(id) && !wantedBefore.has(id)
    return this.#isOpen && this.#running < this.#concurrency && containerIds.every(isFree)
  }

  /** Nobody passes one that waits for the same container: a whole pod would wait for ever while others come and go. */
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
