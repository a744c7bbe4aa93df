import { escapeUnreadable } from '../shared/readable-text.ts'
import type { SettingKey } from './settings.ts'

/** The text given for a setting, and its source. */
export interface GivenText {
  readonly text: string
  /** Source of the text, such as `agent.yaml line 4`. */
  readonly origin: string
}

/** The settings and mistakes found in one source. */
export interface SourceReading {
  readonly given: ReadonlyMap<SettingKey, GivenText>
  readonly mistakes: readonly string[]
}

// Characters quoted from a wrong value: enough to recognize it without filling the log.
const SHOWN_CHARACTERS = 200

/**
 * Formats a mistake, such as `capture.minimumWait: it needs a unit (got "3") in agent.yaml line 4`.
 */
export function describeMistake(key: string, reason: string, from?: Partial<GivenText>): string {
  const got = from?.text === undefined ? '' : ` (got "${shortened(from.text)}")`
  const where = from?.origin === undefined ? '' : ` in ${escapeUnreadable(from.origin)}`
  return `${shortened(key)}: ${reason}${got}${where}`
}

function shortened(text: string): string {
  const cut = text.length > SHOWN_CHARACTERS ? `${text.slice(0, SHOWN_CHARACTERS)}…` : text
  return escapeUnreadable(cut)
}
