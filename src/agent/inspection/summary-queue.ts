import type { ArchiveFile, ReaderLane as LaneName, SummaryOutcome } from './archive-reader.ts'
import type { Permits } from './permits.ts'
import { Attempts } from './reader-attempts.ts'
import { ReaderEndedError } from './reader-child.ts'
import type { ReaderLane } from './reader-lane.ts'
import { BATCH_ITEMS, MAX_INTERRUPTIONS } from './reader-limits.ts'
import type { ReaderWatch } from './reader-watch.ts'
import { askSummaries, type TriedSummary } from './summary-batch.ts'
import { readerUnavailable } from './too-expensive.ts'

export interface SummaryQueueOptions {
  readonly lanes: Readonly<Record<LaneName, ReaderLane>>
  readonly watch: ReaderWatch
  readonly largeWindow: Permits
  readonly cpuBudgetMs: (sizeBytes: number) => number
}

interface AloneOptions {
  readonly lane: LaneName
  readonly signal?: AbortSignal | undefined
  /** Earlier end of a reader while it read this archive with others. */
  readonly before?: ReaderEndedError | undefined
  readonly isLarge?: boolean
}

/**
 * Summarizes archives in batches or alone. Finds the archive that ended a reader, so that the others are not affected.
 */
export class SummaryQueue {
  readonly #options: SummaryQueueOptions
  #isClosed = false

  constructor(options: SummaryQueueOptions) {
    this.#options = options
  }

  close(): void {
    this.#isClosed = true
  }

  /** Summarizes the files of the inventory. Only the end of the agent stops this. */
  async summarizeAll(
    files: readonly ArchiveFile[],
    onOutcome: (index: number, outcome: SummaryOutcome) => void,
  ): Promise<void> {
    // A reader ended while it read an archive before this index, and that archive is not known yet.
    let carefulUntil = 0
    for (let first = 0; first < files.length;) {
      const isCareful = first < carefulUntil
      const batch = files.slice(first, isCareful ? carefulUntil : first + BATCH_ITEMS)
      const from = first
      const { told, left } = await this.#tryBatch(batch, isCareful, (index, outcome) =>
        onOutcome(from + index, outcome),
      )
      first += told
      const file = files[first]
      if (left === undefined || file === undefined) continue
      if (left.before !== undefined && !isCareful) {
        carefulUntil = from + batch.length
        continue
      }
      onOutcome(first, await this.#alone(file, { lane: 'index', ...left }))
      first += 1
    }
  }

  async summarize(
    file: ArchiveFile,
    options: { readonly lane: LaneName; readonly signal?: AbortSignal },
  ): Promise<SummaryOutcome> {
    return await this.#alone(file, options)
  }

  /** Tries a batch. Returns the number of outcomes, and the facts about the next archive if it must be read alone. */
  async #tryBatch(
    files: readonly ArchiveFile[],
    isCareful: boolean,
    onOutcome: (index: number, outcome: SummaryOutcome) => void,
  ): Promise<{ readonly told: number; readonly left?: Pick<AloneOptions, 'before' | 'isLarge'> }> {
    const { lanes, watch } = this.#options
    let told = 0
    let isLarge = false
    try {
      await lanes.index.use((reader) =>
        askSummaries(reader, {
          files,
          mayOpenLargeWindow: false,
          isCareful,
          onNext: (index) =>
            watch.begin(reader, this.#budgetFrom(files.slice(index, isCareful ? index + 1 : undefined))),
          onOutcome: (_, outcome) => {
            // Outcomes after an archive that must be tried again are requested again, since there are few.
            isLarge ||= typeof outcome === 'string'
            if (isLarge || typeof outcome === 'string') return
            onOutcome(told, outcome)
            told += 1
          },
        }),
      )
      return isLarge ? { told, left: { isLarge } } : { told }
    } catch (error) {
      if (!(error instanceof ReaderEndedError)) throw error
      return isLarge ? { told, left: { isLarge } } : { told, left: { before: error } }
    }
  }

  /** Returns the budget of the largest file, since the file being read is not known. */
  #budgetFrom(files: readonly ArchiveFile[]): number {
    return this.#options.cpuBudgetMs(Math.max(0, ...files.map(({ sizeBytes }) => sizeBytes)))
  }

  async #alone(file: ArchiveFile, { lane, signal, before, isLarge = false }: AloneOptions): Promise<SummaryOutcome> {
    const { lanes, watch, largeWindow, cpuBudgetMs } = this.#options
    const maxInterruptions = lane === 'index' ? Infinity : MAX_INTERRUPTIONS
    const attempts = new Attempts({ maxInterruptions })
    if (before !== undefined) await attempts.note(before)
    let release = isLarge ? await largeWindow.take(signal) : undefined
    try {
      for (;;) {
        let outcome: TriedSummary | undefined
        try {
          await lanes[lane].use(
            (reader) =>
              askSummaries(reader, {
                files: [file],
                mayOpenLargeWindow: release !== undefined,
                isCareful: true,
                onNext: () => watch.begin(reader, cpuBudgetMs(file.sizeBytes)),
                onOutcome: (_, found) => {
                  outcome = found
                },
                signal,
              }),
            signal,
          )
        } catch (error) {
          signal?.throwIfAborted()
          if (this.#isClosed) throw error
          const next = await attempts.note(error)
          if (next.kind === 'too-expensive') return next
          if (next.kind === 'give-up') throw readerUnavailable()
          continue
        }
        signal?.throwIfAborted()
        if (typeof outcome === 'object') return outcome
        if (outcome !== 'large-window' || release !== undefined) throw new Error('no outcome')
        release = await largeWindow.take(signal)
      }
    } finally {
      release?.()
    }
  }
}
