/** One value of a DER encoding, and where it stands. */
export interface DerValue {
  readonly tag: number
  readonly content: Buffer
}

/** The values that stand in `bytes`, one after the other. Throws where they are not whole. */
export function derValues(bytes: Buffer): DerValue[] {
  const values: DerValue[] = []
  let at = 0
  while (at < bytes.length) {
    const tag = byteAt(bytes, at)
    // High tag numbers do not occur in certificates.
    if ((tag & 0x1f) === 0x1f) throw new Error('unknown form of tag')
    const first = byteAt(bytes, at + 1)
    let start = at + 2
    let length = first
    if (first >= 0x80) {
      const digits = first & 0x7f
      if (digits === 0 || digits > 4) throw new Error('unknown form of length')
      length = bytes.readUIntBE(start, digits)
      start += digits
    }
    const end = start + length
    if (end > bytes.length) throw new Error('a value is cut short')
    values.push({ tag, content: bytes.subarray(start, end) })
    at = end
  }
  return values
}

/** `2.5.29.19` */
export function objectIdentifier(content: Buffer): string {
  const parts: number[] = []
  let value = 0
  for (const byte of content) {
    value = value * 128 + (byte & 0x7f)
    if (byte & 0x80) continue
    parts.push(value)
    value = 0
  }
  const first = parts.shift() ?? 0
  const root = Math.min(Math.floor(first / 40), 2)
  return [root, first - root * 40, ...parts].join('.')
}

function byteAt(bytes: Buffer, at: number): number {
  const byte = bytes[at]
  if (byte === undefined) throw new Error('a value is cut short')
  return byte
}
