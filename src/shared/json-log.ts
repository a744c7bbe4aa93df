import { pino } from 'pino'
import type { Logger } from './logger.ts'
import { escapeInJson } from './readable-text.ts'

/** One line of JSON for each event, on standard output. Names, texts and URLs in it were chosen by others. */
export function jsonLog({
  level,
  node,
  write,
}: {
  readonly level: string
  readonly node: string
  /** Default: to standard output, before it returns. */
  readonly write?: (line: string) => void
}): Logger {
  const output = write === undefined ? pino.destination({ fd: 1, sync: true }) : { write }
  return pino({ level, base: { node } }, { write: (line) => void output.write(escapeInJson(line)) })
}
