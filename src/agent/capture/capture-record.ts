import type {
  CapturedArchive,
  CaptureFailure,
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

  constructor({ jobId, ordinal, capture, store, clock, logger, onChange }: CaptureRecordOptions) {
    this.jobId = jobId
    this.ordinal = ordinal
    this.#capture = capture
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
    this.#set({ ...this.#capture, state, startedAt })
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
    try {
      return await work()
    } finally {
      const phase = { name, startedAt, millis: Math.round(performance.now() - begun) }
      this.#capture = { ...this.#capture, phases: [...this.#capture.phases, phase] }
    }
  }

  trace(traces: CaptureTraces): void {
    this.#write(() => {
      this.#store.trace(this.jobId, this.ordinal, traces)
    })
  }

  succeed(archive: CapturedArchive): void {
    const { failure: _, ...capture } = this.#capture
    this.#end({ ...capture, state: 'succeeded', bytesWritten: archive.sizeBytes, archive })
  }

  end(state: 'failed' | 'cancelled' | 'unknown-outcome', failure: CaptureFailure): void {
    this.#end({ ...this.#capture, state, failure })
  }

  #end(capture: ContainerCapture): void {
    this.#set({ ...capture, finishedAt: this.#clock.now() })
  }

  #set(capture: ContainerCapture): void {
    this.#capture = capture
    this.#write(() => {
      this.#store.save(this.jobId, this.ordinal, capture)
    })
    this.#onChange('state')
  }

  #write(write: () => void): void {
    try {
      write()
    } catch (error) {
      this.#logger.error({ jobId: this.jobId, error: errorText(error) }, 'Cannot write the capture into the index')
    }
  }
}
