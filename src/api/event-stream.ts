/** One event of a stream of server-sent events. */
export interface ServerSentEvent {
  /** The last id that the stream has named, with this event or before it. */
  readonly id: string | undefined
  readonly type: string
  readonly data: string
}

/** The largest data of one event, in characters. */
const MAX_DATA = 16 * 1024 * 1024

/** Parses server-sent events (WHATWG HTML, 9.2) from lines. Comments, and an event without its end, yield nothing. */
export async function* readEvents(lines: AsyncIterable<string>): AsyncGenerator<ServerSentEvent> {
  let id: string | undefined
  let type = ''
  let data: string[] = []
  let size = 0
  for await (const line of lines) {
    const text = line.endsWith('\r') ? line.slice(0, -1) : line
    if (text === '') {
      if (data.length > 0) yield { id, type: type === '' ? 'message' : type, data: data.join('\n') }
      type = ''
      data = []
      size = 0
      continue
    }
    const [name, value] = splitField(text)
    if (name === 'data') {
      data.push(value)
      size += value.length
      if (size > MAX_DATA) throw new RangeError(`Cannot read the events: one is larger than ${MAX_DATA} characters`)
    } else if (name === 'event') type = value
    else if (name === 'id' && !value.includes('\0')) id = value
  }
}

/** The name is empty in a comment. */
function splitField(line: string): readonly [name: string, value: string] {
  const colon = line.indexOf(':')
  if (colon === -1) return [line, '']
  const value = line.slice(colon + 1)
  return [line.slice(0, colon), value.startsWith(' ') ? value.slice(1) : value]
}
