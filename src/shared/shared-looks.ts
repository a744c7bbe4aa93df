/**
 * Looks at something outside of this process on behalf of callers who come at once, so that a crowd costs as much as two of
 * them. What a caller gets was begun after it asked: who comes while a look is under way gets the next one.
 */
export class SharedLooks<Key, Value> {
  readonly #look: (key: Key) => Promise<Value>
  readonly #underWay = new Map<Key, Promise<Value>>()
  readonly #next = new Map<Key, Promise<Value>>()

  constructor(look: (key: Key) => Promise<Value>) {
    this.#look = look
  }

  look(key: Key): Promise<Value> {
    const underWay = this.#underWay.get(key)
    if (underWay === undefined) return this.#begin(key)
    const next = this.#next.get(key) ?? this.#follow(key, underWay)
    this.#next.set(key, next)
    return next
  }

  #begin(key: Key): Promise<Value> {
    const look = this.#look(key)
    const end = () => void this.#underWay.delete(key)
    look.then(end, end)
    this.#underWay.set(key, look)
    return look
  }

  async #follow(key: Key, underWay: Promise<Value>): Promise<Value> {
    await underWay.catch(() => undefined)
    this.#next.delete(key)
    return await this.#begin(key)
  }
}
