import { readFile } from 'node:fs/promises'
import { InvalidInputError } from '../shared/errors.ts'
import type { Logger } from '../shared/logger.ts'
import { systemErrorReason } from '../shared/system-error.ts'

export interface WatchedFileOptions<Parsed> {
  readonly path: string
  /** Noun for messages, such as `file of tokens`. */
  readonly what: string
  readonly parse: (text: string) => Parsed
  readonly logger: Logger
  readonly intervalMs?: number
}

/** The parsed content of a file, kept up to date while the agent runs. */
export interface WatchedFile<Parsed> {
  readonly current: () => Parsed
  /** Checks once for a changed file. If the new content is not valid, the old one stays in use. */
  readonly refresh: () => Promise<void>
  readonly onChange: (listener: () => void) => void
  readonly stop: () => void
}

const INTERVAL_MS = 10_000

/**
 * Reads and watches a file. Throws InvalidInputError if it cannot be used at the start. Polls,
 * because a mounted Secret changes through a symbolic link elsewhere.
 */
export async function watchFile<Parsed>(options: WatchedFileOptions<Parsed>): Promise<WatchedFile<Parsed>> {
  const { path, what, parse, logger } = options
  const listeners: (() => void)[] = []
  let text = await read(path, what)
  let parsed = parse(text)
  let refused: string | undefined

  const refresh = async () => {
    try {
      const next = await read(path, what)
      if (next === text || next === refused) return
      refused = next
      parsed = parse(next)
      refused = undefined
      text = next
      logger.info({ path }, `Changed ${what} is in use`)
      for (const listener of listeners) listener()
    } catch (error) {
      logger.warn({ err: error, path }, `Changed ${what} cannot be used, the old one stays in use`)
    }
  }
  const timer = setInterval(() => void refresh(), options.intervalMs ?? INTERVAL_MS)
  timer.unref()
  return {
    current: () => parsed,
    refresh,
    onChange: (listener) => void listeners.push(listener),
    stop: () => clearInterval(timer),
  }
}

async function read(path: string, what: string): Promise<string> {
  try {
    return await readFile(path, 'utf8')
  } catch (cause) {
    throw new InvalidInputError(`Cannot read ${what} "${path}": ${systemErrorReason(cause)}`, {
      code: 'FileUnreadable',
      hint: 'See that it is there and that the agent may read it, or correct the setting that names it.',
      cause,
    })
  }
}
