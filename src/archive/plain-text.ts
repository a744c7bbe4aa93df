import { escapeUnreadable, readableText } from '../shared/readable-text.ts'

/** Matches text that needs no escapes, as nearly all text of real archives. */
const PLAIN = /^[\x20-\x5b\x5d-\x7e]*$/

/** Converts text from an archive to a form that is safe to display. */
export function plainText(text: string): string {
  return PLAIN.test(text) ? text : escapeUnreadable(text)
}

/** Converts bytes from an archive, such as a member name, to a form that is safe to display. */
export function plainBytes(bytes: Uint8Array): string {
  return readableText(bytes)
}
