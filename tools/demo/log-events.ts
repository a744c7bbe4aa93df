import { closeSync, fstatSync, openSync, readSync } from 'node:fs'
import { escapeUnreadable } from '../../src/shared/readable-text.ts'

/** Calls `onEvent` with a line for the screen for whatever of interest the agent writes into its log from now on. */
export function followLog(logPath: string, onEvent: (line: string) => void): { stop(): void } {
  const file = openSync(logPath, 'r')
  const chunk = Buffer.alloc(64 * 1024)
  let rest = Buffer.alloc(0)
  let position = fstatSync(file).size
  const readNext = () => readSync(file, chunk, { position })
  const look = () => {
    for (let size = readNext(); size > 0; size = readNext()) {
      position += size
      rest = Buffer.concat([rest, chunk.subarray(0, size)])
      for (let end = rest.indexOf(0x0a); end !== -1; end = rest.indexOf(0x0a)) {
        const line = describeEvent(rest.subarray(0, end).toString())
        rest = rest.subarray(end + 1)
        if (line !== undefined) onEvent(line)
      }
    }
  }
  const timer = setInterval(look, LOOK_EVERY_MS)
  return {
    stop() {
      clearInterval(timer)
      look()
      closeSync(file)
    },
  }
}

const LOOK_EVERY_MS = 200

/** The levels that are shown whatever happened. */
const SHOWN_LEVELS: ReadonlySet<unknown> = new Set(['warn', 'error', 'fatal'])

/** A request that changes something, a warning, an error; `undefined` for everything else. */
export function describeEvent(logLine: string): string | undefined {
  const entry = parse(logLine)
  if (entry === undefined) return undefined
  const { level, time, msg, method, url, status, millis } = entry
  const clock = clockTime(time)
  if (msg === 'Answered') {
    if (method === 'GET' || method === 'HEAD') return undefined
    return `${clock}  ${shown(method)} ${shown(url)}: ${shown(status)} in ${shown(millis)} ms`
  }
  return SHOWN_LEVELS.has(level) ? `${clock}  ${shown(msg)}${cause(entry)}` : undefined
}

/** In the zone of who looks at the screen. */
function clockTime(time: unknown): string {
  const date = new Date(typeof time === 'string' ? time : Number.NaN)
  return Number.isNaN(date.getTime()) ? '--:--:--' : date.toTimeString().slice(0, 8)
}

type Entry = Readonly<Record<string, unknown>>

function cause({ failure, error, reason }: Entry): string {
  const detail = typeof failure === 'object' && failure !== null && 'detail' in failure ? failure.detail : undefined
  const text = detail ?? error ?? reason
  return text === undefined ? '' : `: ${shown(text)}`
}

function parse(logLine: string): Entry | undefined {
  try {
    const value: unknown = JSON.parse(logLine)
    return typeof value === 'object' && value !== null ? { ...value } : undefined
  } catch {
    return undefined // an error that node itself wrote
  }
}

function shown(value: unknown): string {
  const text = typeof value === 'string' ? value : JSON.stringify(value)
  return escapeUnreadable((text ?? '').slice(0, 300))
}
