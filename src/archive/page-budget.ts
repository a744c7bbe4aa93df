/** Counts what a page holds as JSON: names in an archive can be long, and an answer must have a bound whatever was asked for. */
export class PageBudget {
  #leftBytes: number

  constructor(maxBytes: number) {
    this.#leftBytes = maxBytes
  }

  /** Whether an entry with these texts still fits. After the first one that does not, none does. */
  take(...texts: readonly (string | undefined)[]): boolean {
    if (this.#leftBytes < 0) return false
    let bytes = FIELDS_BYTES
    for (const text of texts) if (text !== undefined) bytes += Buffer.byteLength(JSON.stringify(text))
    this.#leftBytes -= bytes
    return this.#leftBytes >= 0
  }
}

/** The names of the fields, and numbers. */
const FIELDS_BYTES = 256
