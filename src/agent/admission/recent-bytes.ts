/** Number of parts of the window. More parts make the count more precise. */
const PARTS = 10

/** Counts the bytes of the last `windowMs`, with a precision of a tenth of that window. */
export class RecentBytes {
  readonly #partMs: number
  readonly #now: () => number
  readonly #parts = Array.from({ length: PARTS }, () => ({ number: -1, bytes: 0 }))

  constructor({ windowMs, now }: { readonly windowMs: number; readonly now: () => number }) {
    this.#partMs = windowMs / PARTS
    this.#now = now
  }

  add(bytes: number): void {
    const number = this.#number()
    const part = this.#parts[number % PARTS]
    if (part === undefined) return
    if (part.number !== number) Object.assign(part, { number, bytes: 0 })
    part.bytes += bytes
  }

  total(): number {
    const oldest = this.#number() - PARTS + 1
    return this.#parts.reduce((sum, { number, bytes }) => (number >= oldest ? sum + bytes : sum), 0)
  }

  #number(): number {
    return Math.floor(this.#now() / this.#partMs)
  }
}
