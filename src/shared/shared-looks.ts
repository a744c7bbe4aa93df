/**
 * Shares queries of an external system among concurrent callers, so that any number of them costs
 * two queries. Every caller receives the result of a query that started after its call: a caller
 * during a running query waits for the next one.
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
