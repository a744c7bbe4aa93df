const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

// Control characters, line breaks, and invisible characters or ones that reorder the text around
// them.
const UNREADABLE = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}\\]/gu

/**
 * Converts text from outside (names of pods, containers, images, files) to a form that is safe to
 * display anywhere. Escapes invisible characters as `\x1b` or `\u{202e}`, bytes that are not UTF-8
 * as `\xff`, and backslashes as `\\`. Different bytes give different texts, so the result also
 * serves as a key.
 */
export function readableText(bytes: Uint8Array): string {
  try {
    return escapeUnreadable(decoder.decode(bytes))
  } catch {
    return readBytewise(bytes)
  }
}

/**
 * Converts a JavaScript string to a form that is safe to display, with the same escapes as
 * `readableText`.
 */
export function escapeUnreadable(text: string): string {
  return text.replace(UNREADABLE, (character) => {
    if (character === '\\') return '\\\\'
    const code = character.codePointAt(0) ?? 0
    return code < 0x80 ? hexEscape(code) : `\\u{${code.toString(16)}}`
  })
}

/**
 * Escapes text that already contains escapes, line breaks or tabs; those and backslashes stay
 * unchanged.
 */
export function escapeLines(text: string): string {
  return text.replace(UNREADABLE, (character) => (/[\\\n\t]/.test(character) ? character : escapeUnreadable(character)))
}

/**
 * Escapes JSON so that it parses to the same value and contains no terminal control sequences. The
 * line break at its end stays.
 */
export function escapeInJson(json: string): string {
  return json.replace(UNREADABLE, (character) => {
    if (/[\\\n]/.test(character)) return character
    return character.replace(/[^]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`)
  })
}

/** Keeps the parts that are UTF-8 and escapes every other byte. */
function readBytewise(bytes: Uint8Array): string {
  let text = ''
  let start = 0
  const takeUpTo = (end: number) => {
    if (end > start) text += escapeUnreadable(decoder.decode(bytes.subarray(start, end)))
  }
  for (let at = 0; at < bytes.length;) {
    const length = sequenceLength(bytes, at)
    if (length === 0) {
      takeUpTo(at)
      text += hexEscape(bytes[at] ?? 0)
      start = at + 1
    }
    at += Math.max(length, 1)
  }
  takeUpTo(bytes.length)
  return text
}

/**
 * Returns the length of the UTF-8 sequence at this position (RFC 3629), or 0 if there is none.
 * Decoding would take a thousand times as long for every byte that is not UTF-8.
 */
function sequenceLength(bytes: Uint8Array, at: number): number {
  const first = bytes[at] ?? 0
  if (first < 0x80) return 1
  const length = first >= 0xf5 ? 0 : first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : first >= 0xc2 ? 2 : 0
  if (length === 0 || at + length > bytes.length) return 0
  const second = bytes[at + 1] ?? 0
  // Rejects overlong encodings, surrogates, and values beyond the last character.
  if (second < (first === 0xe0 ? 0xa0 : first === 0xf0 ? 0x90 : 0x80)) return 0
  if (second > (first === 0xed ? 0x9f : first === 0xf4 ? 0x8f : 0xbf)) return 0
  for (let next = at + 2; next < at + length; next += 1) if (((bytes[next] ?? 0) & 0xc0) !== 0x80) return 0
  return length
}

function hexEscape(byte: number): string {
  return `\\x${byte.toString(16).padStart(2, '0')}`
}
