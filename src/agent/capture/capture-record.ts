import type {
  CapturedArchive,
  CaptureFailure,
  CapturePhase,
  CapturePhaseName,
  CaptureState,
  ContainerCapture,
} from '../../checkpoint/capture-job.ts'
import type { CaptureTraces, JobStore } from '../../store/job-store.ts'
import type { Clock } from '../../shared/clock.ts'
import { errorText } from '../../shared/errors.ts'
import type { Logger } from '../../shared/logger.ts'

export interface CaptureRecordOptions {
  readonly jobId: string
  readonly ordinal: number
  readonly capture: ContainerCapture
  readonly store: JobStore
  readonly clock: Clock
  readonly logger: Logger
  /** Called when the state changes or more bytes are written. */
  readonly onChange?: (what: 'state' | 'bytes') => void
}

/**
 * Tracks one capture: the state to show and the row in the index for the next start. The first row is written before
 * the capture begins. If the index fails later, the capture continues and the failure is only logged.
 */
export class CaptureRecord {
  readonly jobId: string
  readonly ordinal: number
  readonly #store: JobStore
  readonly #clock: Clock
  readonly #logger: Logger
  readonly #onChange: (what: 'state' | 'bytes') => void
  #capture: ContainerCapture
  #ended: ContainerCapture | undefined
  readonly #phases: (CapturePhase | undefined)[]

  constructor({ jobId, ordinal, capture, store, clock, logger, onChange }: CaptureRecordOptions) {
    this.jobId = jobId
    this.ordinal = ordinal
    this.#capture = capture
    this.#phases = [...capture.phases]
    this.#store = store
    this.#clock = clock
    this.#logger = logger
    this.#onChange = onChange ?? (() => {})
  }

  get capture(): ContainerCapture {
    return this.#capture
  }

  enter(state: CaptureState): void {
    const startedAt = this.#capture.startedAt ?? this.#clock.now()
    const capture = { ...this.#capture, state, startedAt }
    this.#save(capture)
    this.#show(capture)
  }

  /** Sets the number of bytes written. It is not stored in the index because it changes many times a second. */
  setBytes(bytesWritten: number): void {
    if (bytesWritten === this.#capture.bytesWritten) return
    this.#capture = { ...this.#capture, bytesWritten }
    this.#onChange('bytes')
  }

  async phase<T>(name: CapturePhaseName, work: () => Promise<T>): Promise<T> {
    const startedAt = this.#clock.now()
    const begun = performance.now()
    // Phases are listed in the order in which they begin because some run in parallel.
    const place = this.#phases.push(undefined) - 1
    try {
      return await work()
    } finally {
      this.#phases[place] = { name, startedAt, millis: Math.round(performance.now() - begun) }
      this.#capture = { ...this.#capture, phases: this.#phases.filter((phase) => phase !== undefined) }
    }
  }

  trace(traces: CaptureTraces): void {
    this.#write(() => {
      this.#store.trace(this.jobId, this.ordinal, traces)
    })
  }

  /** Ends the capture with success. Its row is written at once, but the end is shown by `showEnd`. */
  succeed(archive: CapturedArchive): void {
    const { failure: _, ...capture } = this.#capture
    this.#end({ ...capture, state: 'succeeded', bytesWritten: archive.sizeBytes, archive })
  }

  /** Ends the capture with a failure. Its row is written at once, but the end is shown by `showEnd`. */
  end(state: 'failed' | 'cancelled' | 'unknown-outcome', failure: CaptureFailure): void {
    this.#end({ ...this.#capture, state, failure })
  }

  /**
   * Shows the end of the capture. Call it only after the container is released, since callers may then request the next
   * capture at once.
   */
  showEnd(): void {
    if (this.#ended !== undefined) this.#show(this.#ended)
  }

  #end(capture: ContainerCapture): void {
    this.#ended = { ...capture, finishedAt: this.#clock.now() }
    this.#save(this.#ended)
  }

  #show(capture: ContainerCapture): void {
    this.#capture = capture
    this.#onChange('state')
  }

  #save(capture: ContainerCapture): void {
    this.#write(() => {
      this.#store.save(this.jobId, this.ordinal, capture)
    })
  }

  #write(write: () => void): void {
    try {
      write()
    } catch (error) {
      this.#logger.error({ jobId: this.jobId, error: errorText(error) }, 'Cannot write the capture into the index')
    }
  }
}
