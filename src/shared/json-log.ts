import { pino, stdTimeFunctions } from 'pino'
import { AgentError, errorText } from './errors.ts'
import type { Logger } from './logger.ts'
import { escapeInJson } from './readable-text.ts'

export interface JsonLogOptions {
  readonly level: string
  readonly node: string
  /** Default: to standard output, before it returns. */
  readonly write?: (line: string) => void
}

/** One line of JSON for each event, on standard output. Names, texts and URLs in it were chosen by others. */
export function jsonLog(options: JsonLogOptions): Logger {
  return createPino(options)
}

/** Writes the last line of an agent that cannot start or go on: the code, the cause and the next step. */
export function logFatal(options: Omit<JsonLogOptions, 'level'>, error: unknown): void {
  const log = createPino({ ...options, level: 'fatal' })
  if (error instanceof AgentError) {
    const { code, hint, extra, message } = error
    // Further lines of a message are for people; the fields have the same.
    log.fatal({ code, ...(hint !== undefined && { hint }), ...extra }, message.split('\n', 1)[0] ?? message)
  } else {
    log.fatal({ code: 'InternalError', hint: REPORT_HINT, err: error }, `Cannot go on: ${errorText(error)}`)
  }
}

/** The same for people. */
export function fatalText(error: unknown): string {
  if (error instanceof AgentError) {
    const [first, ...more] = error.message.split('\n')
    const hint = error.hint === undefined ? [] : [`  ${error.hint}`]
    return `${[`checkpoint-agent: ${first} (${error.code})`, ...more, ...hint].join('\n')}\n`
  }
  const stack = error instanceof Error ? error.stack : undefined
  return `checkpoint-agent: ${stack ?? errorText(error)} (InternalError)\n  ${REPORT_HINT}\n`
}

const REPORT_HINT = 'This is a bug of checkpoint-agent: report it with this text.'

function createPino({ level, node, write }: JsonLogOptions) {
  const output = write === undefined ? pino.destination({ fd: 1, sync: true }) : { write }
  return pino(
    {
      level,
      base: { node },
      timestamp: stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    { write: (line) => void output.write(escapeInJson(line)) },
  )
}
