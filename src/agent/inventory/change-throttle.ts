/** Minimum interval between refreshes of a file. A file that is being written causes hundreds of events a second. */
const REST_MS = 200

/** Throttles refreshes of files that were unfinished a moment ago. */
export class ChangeThrottle {
  /** Throttled files by name, and whether each has changed meanwhile. */
  readonly #hasChanged = new Map<string, boolean>()
  readonly #onChanged: (name: string) => void

  /** Reports at the end of the interval the files that changed meanwhile. */
  constructor(onChanged: (name: string) => void) {
    this.#onChanged = onChanged
  }

  /** Notes a change. Returns true if the file is throttled, so that it is reported later. */
  noteChange(name: string): boolean {
    if (!this.#hasChanged.has(name)) return false
    this.#hasChanged.set(name, true)
    return true
  }

  /** Throttles a file. If it is throttled already, a change that the refresh may have missed stays noted. */
  rest(name: string, hasChanged: boolean): void {
    const noted = this.#hasChanged.get(name)
    this.#hasChanged.set(name, hasChanged || noted === true)
    if (noted !== undefined) return
    const timer = setTimeout(() => {
      const mustTell = this.#hasChanged.get(name) === true
      this.#hasChanged.delete(name)
      if (mustTell) this.#onChanged(name)
    }, REST_MS)
    timer.unref()
  }
}
