import { pino, stdTimeFunctions } from 'pino'
import { AgentError, errorText } from './errors.ts'
import type { Logger } from './logger.ts'
import { escapeInJson } from './readable-text.ts'

export interface JsonLogOptions {
  readonly level: string
  readonly node: string
  /** Writes a line; standard output, synchronously, by default. */
  readonly write?: (line: string) => void
}

/**
 * Creates a logger that writes one JSON line per event to standard output. Escapes names, texts and
 * URLs, because they come from outside.
 */
export function jsonLog(options: JsonLogOptions): Logger {
  return createPino(options)
}

/**
 * Writes the last line of an agent that cannot start or continue: the code, the cause and the next
 * step.
 */
export function logFatal(options: Omit<JsonLogOptions, 'level'>, error: unknown): void {
  const log = createPino({ ...options, level: 'fatal' })
  if (error instanceof AgentError) {
    const { code, hint, extra, message } = error
    // Further lines of the message are for people; the fields contain the same.
    log.fatal({ code, ...(hint !== undefined && { hint }), ...extra }, message.split('\n', 1)[0] ?? message)
  } else {
    log.fatal({ code: 'InternalError', hint: REPORT_HINT, err: error }, `Cannot go on: ${errorText(error)}`)
  }
}

/** Formats a fatal error as text for people. */
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
