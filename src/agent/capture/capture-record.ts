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
  /** It got into another state, or more was written. */
  readonly onChange?: (what: 'state' | 'bytes') => void
}

/**
 * One capture as it proceeds: what is shown of it now, and its row for the next start. The first row was written before
 * the capture began; should the index fail later, the capture goes on and only the log knows.
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

  /** Not kept in the index: it changes many times a second. */
  setBytes(bytesWritten: number): void {
    if (bytesWritten === this.#capture.bytesWritten) return
    this.#capture = { ...this.#capture, bytesWritten }
    this.#onChange('bytes')
  }

  async phase<T>(name: CapturePhaseName, work: () => Promise<T>): Promise<T> {
    const startedAt = this.#clock.now()
    const begun = performance.now()
    // In the order in which they begin: some go on side by side.
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

  /** Its row says so at once; it is shown with `showEnd`. */
  succeed(archive: CapturedArchive): void {
    const { failure: _, ...capture } = this.#capture
    this.#end({ ...capture, state: 'succeeded', bytesWritten: archive.sizeBytes, archive })
  }

  /** Its row says so at once; it is shown with `showEnd`. */
  end(state: 'failed' | 'cancelled' | 'unknown-outcome', failure: CaptureFailure): void {
    this.#end({ ...this.#capture, state, failure })
  }

  /** Only when nothing of the container is held any more: who sees the end may ask for the next capture at once. */
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
