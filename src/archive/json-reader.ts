import { isAscii, isUtf8 } from 'node:buffer'
import { MAX_JSON_BYTES, MAX_JSON_DEPTH, MAX_NUMBER_DIGITS, MAX_TEXT_CHARACTERS } from './archive-limits.ts'
import { type ArchiveProblemCode, archiveError, quoted } from './archive-problem.ts'

/** Keys that a reader expects in an object, and the same keys with their case folded. */
export interface JsonKeys {
  readonly exact: ReadonlySet<string>
  /** Empty if the keys are data (annotations) rather than fields. */
  readonly folded: ReadonlySet<string>
}

/**
 * Lists fields of a Go struct. Go would also accept `ID` for `id`, so with such a key two tools
 * would read different values.
 */
export function jsonFields(...names: readonly string[]): JsonKeys {
  return { exact: new Set(names), folded: new Set(names.map(fold)) }
}

/** Lists keys of a map. */
export function jsonMapKeys(...names: readonly string[]): JsonKeys {
  return { exact: new Set(names), folded: new Set() }
}

/**
 * Parses one JSON document from front to back and builds only the requested values; everything else
 * is validated and skipped. Integers keep all their digits. Throws a ProblemError if the input is
 * not strict JSON or exceeds a limit.
 */
export class JsonReader {
  readonly #bytes: Buffer
  readonly #name: string
  readonly #end: number
  /** The whole document if it is ASCII; keys are slices of it, which avoids a copy of each. */
  readonly #text: string | undefined
  #at = 0

  /** Creates a reader; `name` prefixes every problem. */
  constructor(bytes: Buffer, name: string) {
    this.#bytes = bytes
    this.#name = name
    this.#end = bytes.length
    if (bytes.length > MAX_JSON_BYTES) throw this.#fail('JsonTooLarge', `it has more than ${MAX_JSON_BYTES} bytes`)
    if (isAscii(bytes)) this.#text = bytes.toString('latin1')
    else if (!isUtf8(bytes)) throw this.#fail('JsonNotUtf8', 'it is not UTF-8')
  }

  /** Reads the top-level object. */
  readDocument(keys: JsonKeys, onValue: (key: string) => void): void {
    this.#skipSpace()
    if (this.#bytes[this.#at] !== OPEN_BRACE) {
      this.skipValue()
      throw this.#fail('JsonNotAnObject', 'it is no JSON object')
    }
    this.readObject(keys, onValue)
    this.#skipSpace()
    if (this.#at < this.#end) throw this.#invalid()
  }

  /**
   * Reads an object: `onValue` must read or skip the value of every expected key. `null` counts as
   * an empty object.
   */
  readObject(keys: JsonKeys, onValue: (key: string) => void, onOtherKey?: (key: string) => void): void {
    this.#skipSpace()
    if (this.#takeNull()) return
    if (this.#bytes[this.#at] !== OPEN_BRACE) throw this.#wrongType('object')
    this.#at += 1
    let seen: string[] | undefined
    for (let isFirst = true; ; isFirst = false) {
      this.#skipSpace()
      const next = this.#bytes[this.#at]
      if (next === CLOSE_BRACE) {
        if (!isFirst) throw this.#invalid()
        break
      }
      const key = this.#key()
      this.#skipSpace()
      this.#expect(COLON)
      this.#skipSpace()
      if (keys.exact.has(key)) {
        seen ??= []
        if (seen.includes(key)) throw this.#fail('JsonDuplicateKey', `${quoted(key)} is there twice`)
        seen.push(key)
        onValue(key)
      } else {
        if (keys.folded.size > 0 && keys.folded.has(fold(key))) {
          throw this.#fail('JsonKeyCase', `${quoted(key)} differs from a known key in its case only`)
        }
        onOtherKey?.(key)
        this.skipValue()
      }
      this.#skipSpace()
      if (this.#bytes[this.#at] === COMMA) this.#at += 1
      else break
      this.#skipSpace()
      if (this.#bytes[this.#at] !== QUOTE) throw this.#invalid()
    }
    this.#expect(CLOSE_BRACE)
  }

  /** Reads a text; undefined if it is empty or null. */
  readText(): string | undefined {
    if (this.#takeNull()) return undefined
    if (this.#bytes[this.#at] !== QUOTE) throw this.#wrongType('text')
    const text = this.#string()
    if (text.length > MAX_TEXT_CHARACTERS) {
      throw this.#fail('TextTooLong', `a text has ${text.length} characters`)
    }
    return text === '' ? undefined : text
  }

  /** Reads a text of any length, such as an embedded document. */
  readLongText(): string | undefined {
    if (this.#takeNull()) return undefined
    if (this.#bytes[this.#at] !== QUOTE) throw this.#wrongType('text')
    return this.#string()
  }

  /** Reads an integer with all its digits. */
  readInteger(): bigint | undefined {
    if (this.#takeNull()) return undefined
    const start = this.#at
    const first = this.#bytes[start]
    if (first !== MINUS && !isDigit(first)) throw this.#wrongType('number')
    this.#number()
    const text = this.#bytes.toString('latin1', start, this.#at)
    if (text.length > MAX_NUMBER_DIGITS + 1 || !/^-?[0-9]+$/.test(text)) {
      throw this.#fail('JsonNumber', `${quoted(text)} is not an integer of 64 bits`)
    }
    return BigInt(text)
  }

  /** Skips a value of any type and checks that it is valid JSON. */
  skipValue(): void {
    const kinds: number[] = []
    for (;;) {
      this.#skipSpace()
      const byte = this.#bytes[this.#at]
      if (byte === OPEN_BRACE || byte === OPEN_BRACKET) {
        if (kinds.length >= MAX_JSON_DEPTH)
          throw this.#fail('JsonTooDeep', `it is deeper than ${MAX_JSON_DEPTH} levels`)
        this.#at += 1
        this.#skipSpace()
        const close = byte === OPEN_BRACE ? CLOSE_BRACE : CLOSE_BRACKET
        if (this.#bytes[this.#at] !== close) {
          kinds.push(close)
          if (close === CLOSE_BRACE) this.#skipKey()
          continue
        }
        this.#at += 1
      } else {
        this.#scalar(byte)
      }
      if (this.#closeFinished(kinds)) return
    }
  }

  /**
   * Closes the containers that end after a value and moves to the next value. Returns true once the
   * outermost value is complete.
   */
  #closeFinished(kinds: number[]): boolean {
    for (;;) {
      const close = kinds.at(-1)
      if (close === undefined) return true
      this.#skipSpace()
      const byte = this.#bytes[this.#at]
      if (byte === COMMA) {
        this.#at += 1
        if (close === CLOSE_BRACE) {
          this.#skipSpace()
          this.#skipKey()
        }
        return false
      }
      if (byte !== close) throw this.#invalid()
      this.#at += 1
      kinds.pop()
    }
  }

  #skipKey(): void {
    this.#skipString()
    this.#skipSpace()
    this.#expect(COLON)
  }

  #scalar(byte: number | undefined): void {
    if (byte === QUOTE) this.#skipString()
    else if (byte === MINUS || isDigit(byte)) this.#number()
    else if (!this.#takeWord('true') && !this.#takeWord('false') && !this.#takeWord('null')) throw this.#invalid()
  }

  #key(): string {
    const start = this.#at
    if (this.#text === undefined || !this.#skipString()) {
      this.#at = start
      return this.#string()
    }
    return this.#text.slice(start + 1, this.#at - 1)
  }

  /** Returns a copy of the text, which does not keep the document in memory. */
  #string(): string {
    const start = this.#at
    const isPlain = this.#skipString()
    if (isPlain) return this.#bytes.toString('latin1', start + 1, this.#at - 1)
    // With its quotes it is a JSON text by itself, and its escapes have been checked.
    const text: unknown = JSON.parse(this.#bytes.toString('utf8', start, this.#at))
    return String(text)
  }

  /** Skips a string. Returns true if it is ASCII without escapes. */
  #skipString(): boolean {
    const bytes = this.#bytes
    const end = this.#end
    if (bytes[this.#at] !== QUOTE) throw this.#invalid()
    let at = this.#at + 1
    let isPlain = true
    while (at < end) {
      const kind = STRING_BYTES[bytes[at] as number]
      if (kind === PLAIN_BYTE) {
        at += 1
        continue
      }
      if (kind === QUOTE_BYTE) {
        this.#at = at + 1
        return isPlain
      }
      isPlain = false
      if (kind === CONTROL_BYTE) break
      at += kind === ESCAPE_BYTE ? this.#escapeLength(at) : 1
    }
    throw this.#invalid()
  }

  #escapeLength(at: number): number {
    const letter = this.#bytes[at + 1] ?? 0
    if (SHORT_ESCAPES.includes(letter)) return 2
    if (letter !== LETTER_U || !/^[0-9a-fA-F]{4}$/.test(this.#bytes.toString('latin1', at + 2, at + 6)))
      throw this.#invalid()
    return 6
  }

  /** Skips a number: `-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?` */
  #number(): void {
    if (this.#bytes[this.#at] === MINUS) this.#at += 1
    if (this.#bytes[this.#at] === ZERO) this.#at += 1
    else this.#digits()
    if (this.#bytes[this.#at] === DOT) {
      this.#at += 1
      this.#digits()
    }
    const exponent = this.#bytes[this.#at]
    if (exponent === 0x65 || exponent === 0x45) {
      this.#at += 1
      const sign = this.#bytes[this.#at]
      if (sign === MINUS || sign === PLUS) this.#at += 1
      this.#digits()
    }
  }

  #digits(): void {
    const start = this.#at
    while (isDigit(this.#bytes[this.#at])) this.#at += 1
    if (this.#at === start) throw this.#invalid()
  }

  #takeNull(): boolean {
    return this.#bytes[this.#at] === LETTER_N && this.#takeWord('null')
  }

  #takeWord(word: string): boolean {
    if (this.#bytes.toString('latin1', this.#at, this.#at + word.length) !== word) return false
    this.#at += word.length
    return true
  }

  #expect(byte: number): void {
    if (this.#bytes[this.#at] !== byte) throw this.#invalid()
    this.#at += 1
  }

  #skipSpace(): void {
    for (; this.#at < this.#end; this.#at += 1) {
      const byte = this.#bytes[this.#at] as number
      if (byte > 0x20 || (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09)) return
    }
  }

  #wrongType(expected: string) {
    const start = this.#at
    // Input that is not JSON must be reported as such, not as a value of the wrong type.
    this.skipValue()
    return this.#fail('JsonFieldType', `at byte ${start} there is no ${expected}`)
  }

  #invalid() {
    return this.#fail('JsonInvalid', `it is not JSON at byte ${this.#at}`)
  }

  #fail(code: ArchiveProblemCode, what: string) {
    return archiveError(code, `${this.#name}: ${what}`)
  }
}

const OPEN_BRACE = 0x7b
const CLOSE_BRACE = 0x7d
const OPEN_BRACKET = 0x5b
const CLOSE_BRACKET = 0x5d
const QUOTE = 0x22
const BACKSLASH = 0x5c
const COLON = 0x3a
const COMMA = 0x2c
const MINUS = 0x2d
const PLUS = 0x2b
const DOT = 0x2e
const ZERO = 0x30
const LETTER_N = 0x6e
const LETTER_U = 0x75
const SHORT_ESCAPES = Buffer.from('"\\/bfnrt')

/** Kinds of bytes within a string. */
const PLAIN_BYTE = 0
const QUOTE_BYTE = 1
const ESCAPE_BYTE = 2
const CONTROL_BYTE = 3
const OTHER_BYTE = 4
const STRING_BYTES = Uint8Array.from({ length: 256 }, (_, byte) => {
  if (byte === QUOTE) return QUOTE_BYTE
  if (byte === BACKSLASH) return ESCAPE_BYTE
  if (byte < 0x20) return CONTROL_BYTE
  return byte < 0x80 ? PLAIN_BYTE : OTHER_BYTE
})

function isDigit(byte: number | undefined): boolean {
  return byte !== undefined && byte >= 0x30 && byte <= 0x39
}

/** Folds case as Go does for field names: the Kelvin sign becomes `k`, the long s becomes `s`. */
function fold(text: string): string {
  return text.toUpperCase().toLowerCase()
}
