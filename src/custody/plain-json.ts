/** JSON values that all tools write in the same way. */
export type PlainJson = string | number | boolean | null | readonly PlainJson[] | { readonly [key: string]: PlainJson }

/** Values copied at most, to bound the work; further ones, and deeper nesting, are omitted. */
const MAX_VALUES = 4_096
const MAX_DEPTH = 8
/** Characters copied at most; entries stay far below. */
const MAX_CHARACTERS = 64 * 1024

/**
 * Copies a value as JSON would write it, with a bounded amount of work. Escapes control characters
 * and unpaired surrogates as `\u{…}`, in keys too, because JSON tools write those differently.
 * Throws the errors of a `toJSON` or getter of the value.
 */
export function copyPlain(value: object): { readonly copy: PlainJson; readonly isWhole: boolean } {
  const budget = { values: MAX_VALUES, characters: MAX_CHARACTERS, isWhole: true }
  const copy = copyValue(value, budget, 0) ?? null
  return { copy, isWhole: budget.isWhole }
}

/** Shortens a value to at most `maxBytes` of JSON. Parts that fit stay unchanged. */
export function shrinkPlain(value: PlainJson, maxBytes: number): PlainJson {
  if (jsonBytes(value) <= maxBytes) return value
  if (typeof value === 'string') return cutText(value, maxBytes)
  if (isList(value)) return shrinkList(value, maxBytes)
  return typeof value === 'object' && value !== null ? shrinkObject(value, maxBytes) : null
}

export function jsonBytes(value: PlainJson): number {
  return Buffer.byteLength(JSON.stringify(value))
}

/** Cuts a text to at most `maxBytes` of JSON, ending in `…`. */
export function cutText(text: string, maxBytes: number): string {
  if (jsonBytes(text) <= maxBytes) return text
  const room = maxBytes - Buffer.byteLength('"…"')
  let used = 0
  let end = 0
  for (const character of text) {
    used += Buffer.byteLength(JSON.stringify(character)) - 2
    if (used > room) break
    end += character.length
  }
  return `${text.slice(0, end)}…`
}

/** Escapes the characters that JSON tools write differently. */
export function plainText(text: string): string {
  return text.replaceAll(UNPLAIN, (character) => `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`)
}

const UNPLAIN = /[\p{Cc}\p{Cs}]/gu

interface Budget {
  values: number
  characters: number
  isWhole: boolean
}

function copyValue(value: unknown, budget: Budget, depth: number): PlainJson | undefined {
  budget.values -= 1
  if (value === null) return null
  if (typeof value === 'string') return takeText(value, budget)
  if (typeof value === 'boolean') return value
  if (typeof value === 'number') return Number.isFinite(value) ? value : null
  if (typeof value === 'bigint') return takeText(String(value), budget)
  if (typeof value !== 'object') return undefined
  // The `toJSON` of a Buffer would copy all of its bytes.
  if (depth >= MAX_DEPTH || ArrayBuffer.isView(value)) {
    budget.isWhole = false
    return '…'
  }
  if ('toJSON' in value && typeof value.toJSON === 'function') {
    return copyValue((value.toJSON as () => unknown)(), budget, depth + 1)
  }
  return Array.isArray(value) ? copyList(value, budget, depth + 1) : copyObject(value, budget, depth + 1)
}

function copyList(list: readonly unknown[], budget: Budget, depth: number): PlainJson {
  const copy: PlainJson[] = []
  for (const item of list) {
    if (isSpent(budget)) break
    copy.push(copyValue(item, budget, depth) ?? null)
  }
  return copy
}

function copyObject(object: object, budget: Budget, depth: number): PlainJson {
  const fields: [string, PlainJson][] = []
  for (const key in object) {
    if (isSpent(budget)) break
    if (!Object.hasOwn(object, key)) continue
    const copy = copyValue(object[key as keyof typeof object], budget, depth)
    if (copy !== undefined) fields.push([takeText(key, budget), copy])
  }
  // Unlike an assignment, this makes `__proto__` an ordinary field.
  return Object.fromEntries(fields)
}

function isSpent(budget: Budget): boolean {
  if (budget.values > 0) return false
  budget.isWhole = false
  return true
}

function takeText(text: string, budget: Budget): string {
  if (text.length > budget.characters) budget.isWhole = false
  const taken = text.length <= budget.characters ? text : `${text.slice(0, budget.characters)}…`
  budget.characters = Math.max(0, budget.characters - text.length)
  return plainText(taken)
}

function isList(value: PlainJson): value is readonly PlainJson[] {
  return Array.isArray(value)
}

/** Keeps the first items that fit, and shortens the first one if necessary. */
function shrinkList(list: readonly PlainJson[], maxBytes: number): PlainJson {
  const kept: PlainJson[] = []
  let room = maxBytes - BRACKETS
  for (const item of list) {
    const bytes = jsonBytes(item) + 1
    if (bytes > room) {
      if (kept.length === 0) kept.push(shrinkPlain(item, room - 1))
      break
    }
    kept.push(item)
    room -= bytes
  }
  return kept
}

const BRACKETS = 2
/** Bytes that every field of an object gets at least; fields beyond that are omitted. */
const LEAST_FIELD_BYTES = 48

/**
 * Gives every field the same share of the space. Small fields leave the rest of theirs to large
 * ones, so only large ones are shortened.
 */
function shrinkObject(object: { readonly [key: string]: PlainJson }, maxBytes: number): PlainJson {
  let room = maxBytes - BRACKETS
  const fields = Object.entries(object)
    .slice(0, Math.max(1, Math.floor(room / LEAST_FIELD_BYTES)))
    .map(([key, value]) => ({ key, value, bytes: jsonBytes(value), keyBytes: jsonBytes(key) + 2 }))
  const kept = new Map<string, PlainJson>()
  const smallestFirst = fields.toSorted((a, b) => a.bytes + a.keyBytes - b.bytes - b.keyBytes)
  for (const [index, { key, value, bytes, keyBytes }] of smallestFirst.entries()) {
    const share = Math.floor(room / (fields.length - index)) - keyBytes
    if (share < LEAST_VALUE_BYTES && bytes > share) continue
    const shrunk = shrinkPlain(value, share)
    const used = jsonBytes(shrunk)
    if (used > share) continue
    kept.set(key, shrunk)
    room -= keyBytes + used
  }
  return Object.fromEntries(fields.flatMap(({ key }) => (kept.has(key) ? [[key, kept.get(key) ?? null]] : [])))
}

/** Only the text `…` fits into less. */
const LEAST_VALUE_BYTES = 8
