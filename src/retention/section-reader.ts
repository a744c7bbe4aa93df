import { nearestName } from '../shared/did-you-mean.ts'
import { QuantityError } from '../shared/quantity.ts'

export interface PolicyMistake {
  /** Path of the key, such as `retention.rules[0].maxAge`. */
  readonly key: string
  /** The value as written, if it is a single one. */
  readonly text?: string
  readonly reason: string
}

/** Reads one section of a policy value by value and collects its mistakes. */
export class SectionReader {
  readonly #values: Readonly<Record<string, unknown>>
  readonly #read = new Set<string>()
  readonly path: string
  readonly mistakes: PolicyMistake[]

  constructor(value: unknown, path: string, mistakes: PolicyMistake[]) {
    this.path = path
    this.mistakes = mistakes
    this.#values = isSection(value) ? value : {}
    if (!isSection(value)) this.#add(path, value, 'it must be a section, with keys and values')
  }

  has(name: string): boolean {
    return this.raw(name) !== undefined
  }

  raw(name: string): unknown {
    this.#read.add(name)
    return Object.hasOwn(this.#values, name) ? this.#values[name] : undefined
  }

  /**
   * Reads a value; undefined if it is missing or not valid. `parse` throws QuantityError, or an
   * Error whose message is the reason.
   */
  value<Value>(name: string, parse: (text: string) => Value): Value | undefined {
    const value = this.raw(name)
    if (value === undefined) return undefined
    const key = `${this.path}.${name}`
    if (typeof value !== 'string' && typeof value !== 'number' && typeof value !== 'boolean') {
      this.#add(key, value, value === null ? 'it has no value; leave the key out' : 'it must be a single value')
      return undefined
    }
    try {
      return parse(String(value))
    } catch (error) {
      if (!(error instanceof Error)) throw error
      this.#add(key, value, error instanceof QuantityError ? error.reason : error.message)
      return undefined
    }
  }

  section<Value>(name: string, read: (section: SectionReader) => Value): Value | undefined {
    if (!this.has(name)) return undefined
    const section = new SectionReader(this.raw(name), `${this.path}.${name}`, this.mistakes)
    const value = read(section)
    section.end()
    return value
  }

  mistake(name: string, reason: string): void {
    this.#add(name === '' ? this.path : `${this.path}.${name}`, this.#values[name], reason)
  }

  /** Reports every key that has not been read. */
  end(): void {
    for (const name of Object.keys(this.#values)) {
      if (this.#read.has(name)) continue
      const meant = nearestName(name, [...this.#read])
      const hint = meant === undefined ? `; there are ${[...this.#read].join(', ')}` : `; did you mean ${meant}?`
      this.#add(`${this.path}.${name}`, undefined, `there is no such setting${hint}`)
    }
  }

  #add(key: string, value: unknown, reason: string): void {
    const isSingle = typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean'
    this.mistakes.push({ key, ...(isSingle && { text: String(value) }), reason })
  }
}

export function isSection(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
