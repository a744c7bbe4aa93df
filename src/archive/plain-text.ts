import { escapeUnreadable, readableText } from '../shared/readable-text.ts'

/** What is shown as it stands; nearly every text of a real archive. */
const PLAIN = /^[\x20-\x5b\x5d-\x7e]*$/

/** The readable form of a text from an archive. */
export function plainText(text: string): string {
  return PLAIN.test(text) ? text : escapeUnreadable(text)
}

/** The readable form of bytes from an archive, such as the name of a member. */
export function plainBytes(bytes: Uint8Array): string {
  return readableText(bytes)
}
