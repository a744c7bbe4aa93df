import type { Reason } from './plan-types.ts'

/** Creates a reason. Leave `rule` empty if no rule is involved. */
export function reason(code: string, text: string, rule = ''): Reason {
  return { code, rule, text: rule === '' ? text : `${text} (${rule})` }
}
