import type { Principal } from '../access/principal.ts'
import type { Decision } from '../access/question.ts'
import type { Verb } from '../shared/rbac-verb.ts'
import { forbidden, type Judge } from './judge.ts'

/** The rows that a caller may see. */
export interface Sight {
  /** Scope: `node` is every row, `namespaces` every row with a namespace. */
  readonly of: 'node' | 'namespaces' | ReadonlySet<string>
  /** Tests a namespace; undefined stands for rows without one. */
  readonly sees: (namespace: string | undefined) => boolean
  /** Time in milliseconds at which the decision expires. */
  readonly until: number
}

/** Namespaces checked concurrently. */
const AT_ONCE = 16

export interface VisibleRowsOptions {
  readonly judge: Judge
  readonly principal: Principal
  /** Authenticates the user again to refresh its groups; rejects if that fails. */
  readonly identifyAgain: () => Promise<Principal>
  readonly verb: Verb
  /** The only namespace that was requested. */
  readonly named: string | undefined
}

/** Determines the rows of a list that its caller may see. */
export class VisibleRows {
  readonly #judge: Judge
  #principal: Principal
  readonly #identifyAgain: () => Promise<Principal>
  readonly #verb: Verb
  /** The only namespace that was requested. */
  readonly #named: string | undefined

  constructor({ judge, principal, identifyAgain, verb, named }: VisibleRowsOptions) {
    this.#judge = judge
    this.#principal = principal
    this.#identifyAgain = identifyAgain
    this.#verb = verb
    this.#named = named
  }

  /** Tells whether the caller may see every row, with no namespace requested and no authorizer query. */
  get isUnlimited(): boolean {
    return this.#named === undefined && this.isOfUnlimited
  }

  /** Tells whether the caller may see everything, regardless of the requested namespace. */
  get isOfUnlimited(): boolean {
    return this.#judge.isUnlimited(this.#principal)
  }

  /**
   * Checks the whole node first, then all namespaces at once, then each namespace that has rows. Throws NotAllowedError
   * if the caller may see nothing.
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

  /** Authenticates again before checking, because the caller may have lost groups since the list began. */
  async amongAgain(namespaces: () => Iterable<string> | Promise<Iterable<string>>): Promise<Sight> {
    this.#principal = await this.#identifyAgain()
    return this.among(namespaces)
  }

  /** Authenticates and checks again on each call, except for cached decisions. */
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

  /** Returns the allowed namespaces with the expiry of each decision. */
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
