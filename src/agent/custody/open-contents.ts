import type { CustodyActor, CustodyCheckpoint, CustodyDraft, CustodyEntry } from '../../custody/custody-entry.ts'
import { judgeLine, readLines, segmentPath, segmentsAmong } from '../../custody/custody-segments.ts'
import { nodeDisk } from '../../custody/custody-disk.ts'

/** Content that was announced without a record of the bytes sent. */
export interface OpenContent {
  /** Number of the first entry that announced the content. */
  readonly intent: number
  readonly actor: CustodyActor
  readonly checkpoint: CustodyCheckpoint | undefined
  /** Detail of the last entry that announced the content. No more than its range can have been sent. */
  readonly detail: Readonly<Record<string, unknown>>
}

/** Tracks the content under way from the entries of the log. After a crash, its entries are those without an end. */
export class OpenContents {
  readonly #byIntent = new Map<number, OpenContent>()

  apply({ seq, actor, action, outcome, checkpoint, detail = {} }: CustodyEntry): void {
    if (action !== 'content') return
    const first = typeof detail['intent'] === 'number' ? detail['intent'] : seq
    if (outcome !== 'intended') this.#byIntent.delete(first)
    else this.#byIntent.set(first, { intent: first, actor, checkpoint, detail })
  }

  list(): readonly OpenContent[] {
    return [...this.#byIntent.values()]
  }
}

/** Reads the log from this position up to the entry `upTo`. */
export async function readOpenContents(
  folder: string,
  from: { readonly segment: number; readonly offset: number },
  upTo: number,
): Promise<readonly OpenContent[]> {
  const open = new OpenContents()
  for (const segment of segmentsAmong(await nodeDisk.list(folder))) {
    if (segment.number < from.segment) continue
    for await (const line of readLines(segmentPath(folder, segment))) {
      if (segment.number === from.segment && line.offset < from.offset) continue
      if (!line.bytes.includes(CONTENT)) continue
      const reading = judgeLine(line)
      if (reading.isGood && reading.entry.seq <= upTo) open.apply(reading.entry)
    }
  }
  return open.list()
}

const CONTENT = Buffer.from('"action":"content"')

/**
 * Returns the entry that ends the content. It says that the number of sent bytes is unknown, up to the announced range.
 */
export function endOfOpenContent({ intent, actor, checkpoint, detail }: OpenContent): CustodyDraft {
  const { what, member, recipients, range, upTo } = detail
  return {
    actor,
    action: 'content',
    ...(checkpoint !== undefined && { checkpoint }),
    detail: { intent, what, member, recipients, result: 'agent-ended', announced: range, upTo },
    outcome: 'unknown',
  }
}
