/** The longest line that a reader keeps, in characters: far above any event or custody entry. */
const MAX_LINE = 16 * 1024 * 1024

/** Yields the chunks of a body. Cancels the rest of it when its consumer stops early. */
export async function* readChunks(body: ReadableStream<Uint8Array> | null): AsyncGenerator<Uint8Array> {
  if (body === null) return
  const reader = body.getReader()
  try {
    for (;;) {
      const { done, value } = await reader.read()
      if (done) return
      yield value
    }
  } finally {
    await reader.cancel().catch(() => {
      // The body has failed already, and its reader knows.
    })
  }
}

/** Reads a body as UTF-8. Throws RangeError when it is larger than the limit, and reads no more of it. */
export async function readText(body: ReadableStream<Uint8Array> | null, maxBytes: number): Promise<string> {
  const decoder = new TextDecoder()
  let text = ''
  let bytes = 0
  for await (const chunk of readChunks(body)) {
    bytes += chunk.length
    if (bytes > maxBytes) throw new RangeError(`Cannot read the answer: it is larger than ${maxBytes} bytes`)
    text += decoder.decode(chunk, { stream: true })
  }
  return text + decoder.decode()
}

/** Yields lines of UTF-8 text without their line feeds. The last line needs none. */
export async function* readLines(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder()
  let rest = ''
  for await (const chunk of chunks) {
    const [first = '', ...others] = decoder.decode(chunk, { stream: true }).split('\n')
    rest += first
    if (rest.length > MAX_LINE)
      throw new RangeError(`Cannot read the answer: a line is longer than ${MAX_LINE} characters`)
    const last = others.pop()
    if (last === undefined) continue
    yield rest
    yield* others
    rest = last
  }
  rest += decoder.decode()
  if (rest !== '') yield rest
}
