import type { Reason } from './plan-types.ts'

/** `rule` in words; empty where none has a say. */
export function reason(code: string, text: string, rule = ''): Reason {
  return { code, rule, text: rule === '' ? text : `${text} (${rule})` }
}
