import { escapeUnreadable } from '../shared/readable-text.ts'
import type { SettingKey } from './settings.ts'

/** The text that somebody gave for a setting, and where. */
export interface GivenText {
  readonly text: string
  /** As in `agent.yaml line 4`. */
  readonly origin: string
}

/** What one source of settings says. */
export interface SourceReading {
  readonly given: ReadonlyMap<SettingKey, GivenText>
  readonly mistakes: readonly string[]
}

// Enough to recognise one's own words; a mistake must not fill the log.
const SHOWN_CHARACTERS = 200

/** One mistake, as in `capture.minimumWait: it needs a unit (got "3") in agent.yaml line 4`. */
export function describeMistake(key: string, reason: string, from?: Partial<GivenText>): string {
  const got = from?.text === undefined ? '' : ` (got "${shortened(from.text)}")`
  const where = from?.origin === undefined ? '' : ` in ${escapeUnreadable(from.origin)}`
  return `${shortened(key)}: ${reason}${got}${where}`
}

function shortened(text: string): string {
  const cut = text.length > SHOWN_CHARACTERS ? `${text.slice(0, SHOWN_CHARACTERS)}…` : text
  return escapeUnreadable(cut)
}
