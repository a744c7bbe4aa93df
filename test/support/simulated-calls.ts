/** One call as the runtime saw it. */
export interface RecordedCall {
  readonly method: string
  readonly containerId: string | undefined
  readonly location: string | undefined
  /** Whether the caller sent a deadline along. A checkpoint with one is what freezes containers. */
  readonly hasDeadline: boolean
  readonly startedAt: Date
  /** When the answer went out, or the caller went away. */
  endedAt?: Date
  outcome?: 'ok' | 'failed' | 'cancelled' | 'deadline'
}

/** What was asked of the simulated runtime, and the proof that no two dumps of one container overlapped. */
export class CallRecorder {
  #calls: RecordedCall[] = []
  #overlaps = 0
  #mostDumpsAtOnce = 0

  get calls(): readonly RecordedCall[] {
    return this.#calls
  }

  /** Checkpoints that began while another dump of the same container, abandoned or not, was still going on. */
  get overlaps(): number {
    return this.#overlaps
  }

  /** Over all containers of the node. */
  get mostDumpsAtOnce(): number {
    return this.#mostDumpsAtOnce
  }

  checkpoints(containerId?: string): readonly RecordedCall[] {
    return this.#calls.filter(
      (call) =>
        call.method === 'CheckpointContainer' && (containerId === undefined || call.containerId === containerId),
    )
  }

  add(call: RecordedCall): RecordedCall {
    this.#calls.push(call)
    return call
  }

  dumpBegins({ isOverlap, dumpsAtOnce }: { isOverlap: boolean; dumpsAtOnce: number }): void {
    if (isOverlap) this.#overlaps += 1
    this.#mostDumpsAtOnce = Math.max(this.#mostDumpsAtOnce, dumpsAtOnce)
  }

  clear(): void {
    this.#calls = []
    this.#overlaps = 0
    this.#mostDumpsAtOnce = 0
  }
}
