/** Bounds the size of a page as JSON, because names in an archive can be long. */
export class PageBudget {
  #leftBytes: number

  constructor(maxBytes: number) {
    this.#leftBytes = maxBytes
  }

  /**
   * Checks whether an entry with these texts still fits. After the first one that does not fit,
   * none does.
   */
  take(...texts: readonly (string | undefined)[]): boolean {
    if (this.#leftBytes < 0) return false
    let bytes = FIELDS_BYTES
    for (const text of texts) if (text !== undefined) bytes += Buffer.byteLength(JSON.stringify(text))
    this.#leftBytes -= bytes
    return this.#leftBytes >= 0
  }
}

/** Bytes of field names and numbers in an entry. */
const FIELDS_BYTES = 256
