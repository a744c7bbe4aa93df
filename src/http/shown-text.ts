import { withoutHostPaths } from '../shared/host-paths.ts'
import { escapeLines } from '../shared/readable-text.ts'

/** Why something failed, as callers see it: nothing of where things are on the node, nothing that moves a cursor. */
export function shownText(text: string): string {
  return withoutHostPaths(escapeLines(text))
}
