import { withoutHostPaths } from '../shared/host-paths.ts'
import { escapeLines } from '../shared/readable-text.ts'

/** Redacts host paths from an error text and escapes control characters and line breaks. */
export function shownText(text: string): string {
  return withoutHostPaths(escapeLines(text))
}
