import type { Problem, ProblemWeight } from '../../checkpoint/problem.ts'
import { escapeUnreadable } from '../../shared/readable-text.ts'

/** Reports an invalid answer from the reader, which is not trusted any more. */
export class AnswerError extends Error {
  constructor(field: string) {
    super(`an answer with a bad ${field}`)
    this.name = 'AnswerError'
  }
}

export type Fields = Readonly<Record<string, unknown>>

export function toFields(value: unknown, field: string): Fields {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new AnswerError(field)
  return value as Fields
}

export function toList<T>(value: unknown, field: string, toItem: (item: unknown) => T): T[] {
  if (!Array.isArray(value)) throw new AnswerError(field)
  return value.map((item) => toItem(item))
}

/** Returns text that is safe to show anywhere: it has only characters that `readable-text.ts` allows. */
export function toText(value: unknown, field: string, maxCharacters = MAX_CHARACTERS): string {
  if (typeof value !== 'string' || value.length > maxCharacters) throw new AnswerError(field)
  if (PLAIN.test(value)) return value
  const withoutEscapes = value.replaceAll('\\', '')
  if (escapeUnreadable(withoutEscapes) !== withoutEscapes) throw new AnswerError(field)
  return value
}

/** Length of the longest stored text of an archive if each of its bytes is escaped. */
const MAX_CHARACTERS = 40_960
const PLAIN = /^[\x20-\x7e]*$/

export function toCount(value: unknown, field: string): number {
  if (!Number.isSafeInteger(value) || Number(value) < 0) throw new AnswerError(field)
  return Number(value)
}

export function toInteger(value: unknown, field: string): number {
  if (!Number.isSafeInteger(value)) throw new AnswerError(field)
  return Number(value)
}

export function toFlag(value: unknown, field: string): boolean {
  if (typeof value !== 'boolean') throw new AnswerError(field)
  return value
}

/** Returns nanoseconds since 1970. */
export function toInstant(value: unknown, field: string): bigint {
  if (typeof value !== 'string' || !/^\d{1,19}$/.test(value)) throw new AnswerError(field)
  return BigInt(value)
}

export function toOneOf<T extends string>(value: unknown, field: string, values: readonly T[]): T {
  const found = values.find((each) => each === value)
  if (found === undefined) throw new AnswerError(field)
  return found
}

/** Returns undefined for an absent field. */
export function maybe<T>(value: unknown, field: string, to: (value: unknown, field: string) => T): T | undefined {
  return value === undefined ? undefined : to(value, field)
}

const WEIGHTS: readonly ProblemWeight[] = ['damage', 'cut', 'note']
/** Maximum length of a detail. Texts of the archive in details are truncated. */
const MAX_DETAIL = 4096
/** Maximum number of findings: three for each known code. */
const MAX_PROBLEMS = 500

export function toProblem(value: unknown): Problem {
  const { code, weight, detail } = toFields(value, 'problem')
  if (typeof code !== 'string' || !/^[A-Z][A-Za-z0-9]{1,63}$/.test(code)) throw new AnswerError('code')
  return { code, weight: toOneOf(weight, 'weight', WEIGHTS), detail: toText(detail, 'detail', MAX_DETAIL) }
}

export function toProblems(value: unknown): readonly Problem[] {
  const problems = toList(value, 'problems', toProblem)
  if (problems.length > MAX_PROBLEMS) throw new AnswerError('problems')
  return problems
}
