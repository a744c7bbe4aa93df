/**
 * Shortens a text to at most `maxBytes` of UTF-8 by cutting its middle: the beginning names the
 * call, and the end the cause.
 */
export function cutFromMiddle(text: string, maxBytes: number): string {
  const bytes = Buffer.from(text, 'utf8')
  if (bytes.length <= maxBytes) return text
  const mark = `\n… ${bytes.length} bytes in all, cut here …\n`
  const room = maxBytes - Buffer.byteLength(mark)
  const head = Math.ceil(room / 2)
  return wholeCharacters(bytes.subarray(0, head)) + mark + wholeCharacters(bytes.subarray(bytes.length - (room - head)))
}

/** Drops the partial characters that the cut left at either end. */
function wholeCharacters(bytes: Buffer): string {
  return bytes.toString('utf8').replace(/^\ufffd+|\ufffd+$/g, '')
}
