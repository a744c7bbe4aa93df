import type { Principal } from '../access/principal.ts'
import type { Decision } from '../access/question.ts'
import type { Verb } from '../shared/rbac-verb.ts'
import { forbidden, type Judge } from './judge.ts'

/** Of which namespaces the caller may see rows. */
export interface Sight {
  /** `node`: every row; `namespaces`: every row that belongs to a namespace. */
  readonly of: 'node' | 'namespaces' | ReadonlySet<string>
  /** Undefined: what belongs to no namespace. */
  readonly sees: (namespace: string | undefined) => boolean
  /** When to ask again, in milliseconds. */
  readonly until: number
}

/** How many namespaces are asked about at once. */
const AT_ONCE = 16

export interface VisibleRowsOptions {
  readonly judge: Judge
  readonly principal: Principal
  /** The same user, with the groups it has by now; rejects where nobody is known any more. */
  readonly identifyAgain: () => Promise<Principal>
  readonly verb: Verb
  /** The only namespace that was asked for. */
  readonly named: string | undefined
}

/** Which rows of a list its caller may see. */
export class VisibleRows {
  readonly #judge: Judge
  #principal: Principal
  readonly #identifyAgain: () => Promise<Principal>
  readonly #verb: Verb
  /** The only one that was asked for. */
  readonly #named: string | undefined

  constructor({ judge, principal, identifyAgain, verb, named }: VisibleRowsOptions) {
    this.#judge = judge
    this.#principal = principal
    this.#identifyAgain = identifyAgain
    this.#verb = verb
    this.#named = named
  }

  /** Root of this node sees all there is, and nobody needs to be asked. */
  get isUnlimited(): boolean {
    return this.#named === undefined && this.isOfUnlimited
  }

  /** Whether the caller may see all there is, whatever was named. */
  get isOfUnlimited(): boolean {
    return this.#judge.isUnlimited(this.#principal)
  }

  /**
   * The whole node is asked about first, then all namespaces at once, then one by one those that there are rows of.
   * Throws NotAllowedError where the caller may see nothing at all.
   */
  async among(namespaces: () => Iterable<string> | Promise<Iterable<string>>): Promise<Sight> {
    const named = this.#named
    const isNamed = (namespace: string | undefined) => named === undefined || namespace === named
    const onNode = await this.#mayNode()
    if (onNode.isAllowed) return { of: 'node', sees: isNamed, until: onNode.until }
    const there = await this.#may(named)
    if (there.isAllowed) {
      return {
        until: there.until,
        of: named === undefined ? 'namespaces' : new Set([named]),
        sees: (namespace) => namespace !== undefined && isNamed(namespace),
      }
    }
    const asked = named === undefined ? [...new Set(await namespaces())] : []
    const allowed = await this.#allowedOf(asked)
    if (allowed.size === 0) throw forbidden(this.#principal, this.#question(named))
    return {
      of: new Set(allowed.keys()),
      sees: (namespace) => namespace !== undefined && allowed.has(namespace),
      until: Math.max(...allowed.values()),
    }
  }

  /** For whoever the caller is by now: it may have lost groups since the list was begun. */
  async amongAgain(namespaces: () => Iterable<string> | Promise<Iterable<string>>): Promise<Sight> {
    this.#principal = await this.#identifyAgain()
    return this.among(namespaces)
  }

  /** Asked again each time, for whoever the caller is by then, as far as the answers are not remembered. */
  async seesNow(namespace: string | undefined): Promise<boolean> {
    this.#principal = await this.#identifyAgain()
    if (this.#named !== undefined && namespace !== this.#named) return false
    if (namespace === undefined) return (await this.#mayNode()).isAllowed
    const { isAllowed } = await this.#judge.mayAny(
      this.#principal,
      this.#judge.onNode(this.#wanted),
      this.#question(namespace),
    )
    return isAllowed
  }

  get #wanted() {
    return { verb: this.#verb, isContent: false }
  }

  #question(namespace: string | undefined) {
    return this.#judge.inNamespace(this.#wanted, namespace)
  }

  #mayNode(): Promise<Decision> {
    return this.#judge.mayAny(this.#principal, this.#judge.onNode(this.#wanted))
  }

  #may(namespace: string | undefined): Promise<Decision> {
    return this.#judge.mayAny(this.#principal, this.#question(namespace))
  }

  /** With when to ask about each again. */
  async #allowedOf(namespaces: readonly string[]): Promise<Map<string, number>> {
    const allowed = new Map<string, number>()
    for (let at = 0; at < namespaces.length; at += AT_ONCE) {
      const some = namespaces.slice(at, at + AT_ONCE)
      const answers = await Promise.all(some.map((namespace) => this.#may(namespace)))
      for (const [index, { isAllowed, until }] of answers.entries()) {
        if (isAllowed) allowed.set(some[index] ?? '', until)
      }
    }
    return allowed
  }
}
