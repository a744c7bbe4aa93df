import { AnswerError, toCount, toFields, toList } from './answer-fields.ts'
import type { ArchiveFile, SummaryOutcome } from './archive-reader.ts'
import type { Frame } from './frame-codec.ts'
import type { ReaderChild } from './reader-child.ts'
import type { ReaderRefusal, ReaderRequest } from './reader-messages.ts'
import { parseJson, parseRefusal, toOrder } from './reader-request.ts'
import { parseSummary } from './summary-parser.ts'

/** An outcome, or the reason why there is none yet. */
export type TriedSummary = SummaryOutcome | 'large-window' | 'cancelled'

export interface SummaryBatch {
  readonly files: readonly ArchiveFile[]
  readonly mayOpenLargeWindow: boolean
  /** Whether the reader names each archive before it reads it. */
  readonly isCareful: boolean
  /** Called with the index of the archive that is read next. */
  readonly onNext: (index: number) => void
  /** Called with the outcomes in order. */
  readonly onOutcome: (index: number, outcome: TriedSummary) => void
  readonly signal?: AbortSignal | undefined
}

/** Requests several summaries at once. Throws ReaderEndedError. Outcomes reported before that are valid. */
export async function askSummaries(reader: ReaderChild, batch: SummaryBatch): Promise<void> {
  const { files, mayOpenLargeWindow, isCareful, onNext, onOutcome, signal } = batch
  let told = 0
  const take = (outcomes: readonly TriedSummary[]) => {
    if (told + outcomes.length > files.length) throw new AnswerError('count')
    for (const outcome of outcomes) {
      onOutcome(told, outcome)
      told += 1
    }
    if (told < files.length) onNext(told)
  }
  const onFrame = (frame: Frame) => {
    const answer = toFields(parseJson(frame), 'answer')
    if (answer['kind'] === 'done' && told === files.length) return 'done'
    if (answer['kind'] === 'begin' && toCount(answer['index'], 'index') === told) return 'more'
    if (answer['kind'] !== 'outcomes' || toCount(answer['first'], 'first') !== told) throw new AnswerError('order')
    take(toList(answer['outcomes'], 'outcomes', parseOutcome))
    return 'more'
  }
  const orders = files.map((file) => toOrder(file))
  const request: ReaderRequest = { kind: 'summaries', files: orders, mayOpenLargeWindow, isCareful }
  onNext(0)
  await reader.ask(request, { onFrame }, signal)
}

function parseOutcome(value: unknown): TriedSummary {
  const outcome = toFields(value, 'outcome')
  if (outcome['kind'] === 'summary') return { kind: 'summary', summary: parseSummary(outcome['summary']) }
  const refusal: ReaderRefusal = parseRefusal(outcome)
  switch (refusal.kind) {
    case 'changed':
    case 'unreadable':
      return refusal
    case 'large-window':
    case 'cancelled':
      return refusal.kind
    case 'problem':
    case 'failed':
      break
  }
  throw new AnswerError('outcome')
}
