import { AnswerError, toCount, toFields } from './answer-fields.ts'
import type { ArchiveFile, SummaryOutcome } from './archive-reader.ts'
import type { Frame } from './frame-codec.ts'
import type { ReaderChild } from './reader-child.ts'
import type { ReaderRefusal, ReaderRequest } from './reader-messages.ts'
import { parseJson, parseRefusal, toOrder } from './reader-request.ts'
import { parseSummary } from './summary-parser.ts'

export interface SummaryBatch {
  readonly files: readonly ArchiveFile[]
  readonly mayOpenLargeWindow: boolean
  /** Told before an archive is touched. */
  readonly onBegin: (index: number) => void
  readonly onOutcome: (index: number, outcome: SummaryOutcome | 'large-window' | 'cancelled') => void
  readonly signal?: AbortSignal | undefined
}

/** Asks for some summaries at once. Throws a ReaderEndedError; what was told until then counts. */
export async function askSummaries(reader: ReaderChild, batch: SummaryBatch): Promise<void> {
  const { files, mayOpenLargeWindow, onBegin, onOutcome, signal } = batch
  let begun = 0
  let told = 0
  const onFrame = (frame: Frame) => {
    const answer = toFields(parseJson(frame), 'answer')
    if (answer['kind'] === 'done' && told === files.length) return 'done'
    const index = toCount(answer['index'], 'index')
    if (answer['kind'] === 'begin' && begun === told && index === begun && begun < files.length) {
      begun += 1
      onBegin(index)
      return 'more'
    }
    if (answer['kind'] !== 'outcome' || index !== told || told === begun) throw new AnswerError('order')
    const outcome = parseOutcome(answer['outcome'])
    told += 1
    onOutcome(index, outcome)
    return 'more'
  }
  const request: ReaderRequest = { kind: 'summaries', files: files.map((file) => toOrder(file)), mayOpenLargeWindow }
  await reader.ask(request, { onFrame }, signal)
}

function parseOutcome(value: unknown): SummaryOutcome | 'large-window' | 'cancelled' {
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
