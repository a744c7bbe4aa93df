/** A file that is being written brings hundreds of events a second: it is looked at so often and no more. */
const REST_MS = 200

/** Files that were found unfinished a moment ago, and are left alone for a while. */
export class RestingFiles {
  /** By name, and whether anything has happened to it since. */
  readonly #hasChanged = new Map<string, boolean>()
  readonly #onChanged: (name: string) => void

  /** Told of at the end of its rest is what has changed meanwhile. */
  constructor(onChanged: (name: string) => void) {
    this.#onChanged = onChanged
  }

  /** True when it rests, and is told of afterwards. */
  noteChange(name: string): boolean {
    if (!this.#hasChanged.has(name)) return false
    this.#hasChanged.set(name, true)
    return true
  }

  rest(name: string, hasChanged: boolean): void {
    const isResting = this.#hasChanged.has(name)
    this.#hasChanged.set(name, hasChanged)
    if (isResting) return
    const timer = setTimeout(() => {
      const mustTell = this.#hasChanged.get(name) === true
      this.#hasChanged.delete(name)
      if (mustTell) this.#onChanged(name)
    }, REST_MS)
    timer.unref()
  }
}
