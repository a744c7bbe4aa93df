/** A file that is being written brings hundreds of events a second: it is looked at so often and no more. */
const REST_MS = 200

/** Files that were found unfinished a moment ago, and are left alone for a while. */
export class ChangeThrottle {
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

  /** A file that rests already may have been looked at meanwhile: a change that the look may not have seen stays noted. */
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
