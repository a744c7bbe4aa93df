const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

// Control characters, line ends, and what is invisible or reorders the text around it (format and ignorable characters).
const UNREADABLE = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}\\]/gu

/**
 * Text that others chose (names of pods, containers, images, files), as something that can be shown anywhere:
 * `\x1b`, `\u{202e}` for what cannot be seen, `\xff` for bytes that are no UTF-8, `\\` for a backslash.
 * Different bytes give different texts, so the result also serves as a key.
 */
export function readableText(bytes: Uint8Array): string {
  try {
    return escapeUnreadable(decoder.decode(bytes))
  } catch {
    return readBytewise(bytes)
  }
}

/** The same for text that is a JavaScript string already. */
export function escapeUnreadable(text: string): string {
  return text.replace(UNREADABLE, (character) => {
    if (character === '\\') return '\\\\'
    const code = character.codePointAt(0) ?? 0
    return code < 0x80 ? hexEscape(code) : `\\u{${code.toString(16)}}`
  })
}

/** For text with escapes in it already, or with lines and tabs: those stay, and so do backslashes. */
export function escapeLines(text: string): string {
  return text.replace(UNREADABLE, (character) => (/[\\\n\t]/.test(character) ? character : escapeUnreadable(character)))
}

/** JSON that reads back as the same, with nothing in it that a terminal would follow. The end of its line stays. */
export function escapeInJson(json: string): string {
  return json.replace(UNREADABLE, (character) => {
    if (/[\\\n]/.test(character)) return character
    return character.replace(/[^]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`)
  })
}

/** Keeps the parts that are UTF-8 and escapes each byte that is not. */
function readBytewise(bytes: Uint8Array): string {
  let text = ''
  for (let at = 0; at < bytes.length;) {
    const length = sequenceLength(bytes, at)
    text += length === 0 ? hexEscape(bytes[at] ?? 0) : escapeUnreadable(decoder.decode(bytes.subarray(at, at + length)))
    at += Math.max(length, 1)
  }
  return text
}

/** The length of the UTF-8 sequence that begins here; 0 where none does. */
function sequenceLength(bytes: Uint8Array, at: number): number {
  const first = bytes[at] ?? 0
  const length = first < 0x80 ? 1 : first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : first >= 0xc2 ? 2 : 0
  if (length === 0 || at + length > bytes.length) return 0
  try {
    decoder.decode(bytes.subarray(at, at + length))
    return length
  } catch {
    return 0
  }
}

function hexEscape(byte: number): string {
  return `\\x${byte.toString(16).padStart(2, '0')}`
}
