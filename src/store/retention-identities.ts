import { sourceOf } from './checkpoint-row.ts'

/** The part of an identity that retention uses. */
export interface RetentionIdentity {
  readonly namespace: string | undefined
  readonly pod: string | undefined
  readonly container: string | undefined
  readonly source: ReturnType<typeof sourceOf>
  readonly isTrusted: boolean
}

type NameOf = (number: number) => string | undefined

/** An identity as numbers of names. */
export interface IdentityColumns {
  readonly namespace: number | null
  readonly pod: number | null
  readonly container: number | null
  /** The source, with the trust flag in the lowest bit. */
  readonly claim: number
}

/** Stores every identity once, however many archives share it. */
export class RetentionIdentities {
  readonly #identities: RetentionIdentity[] = []
  readonly #names = new Map<number, string>()
  readonly #nameOf: NameOf
  readonly #homes: Pairs
  readonly #containers: Pairs
  readonly #pods: Pairs

  /** Creates a store for at most this many rows. */
  constructor(rows: number, nameOf: NameOf) {
    this.#nameOf = nameOf
    this.#homes = new Pairs(CLAIMS)
    this.#containers = new Pairs(rows)
    this.#pods = new Pairs(rows)
  }

  numberOf(columns: IdentityColumns): number {
    const { namespace, pod, container, claim } = columns
    const home = this.#homes.numberOf(namespace ?? 0, claim)
    const number = this.#pods.numberOf(pod ?? 0, this.#containers.numberOf(container ?? 0, home))
    if (number === this.#identities.length) this.#identities.push(this.#read(columns))
    return number
  }

  read(number = 0): RetentionIdentity {
    return this.#identities[number] ?? NOBODY
  }

  #read({ namespace, pod, container, claim }: IdentityColumns): RetentionIdentity {
    return {
      namespace: this.#name(namespace),
      pod: this.#name(pod),
      container: this.#name(container),
      source: sourceOf(claim >> 1),
      isTrusted: (claim & 1) === 1,
    }
  }

  #name(number: number | null): string | undefined {
    if (number === null) return undefined
    const name = this.#names.get(number) ?? this.#nameOf(number)
    if (name === undefined) throw new Error(`Cannot read the names of the index: there is none with number ${number}`)
    this.#names.set(number, name)
    return name
  }
}

/** Upper bound of `claim`; no real value reaches it. */
const CLAIMS = 256

/** Assigns consecutive numbers to distinct pairs of integers, starting at 0. */
class Pairs {
  readonly #secondBelow: number
  readonly #numbers = new Map<number, number>()

  constructor(secondBelow: number) {
    this.#secondBelow = secondBelow
  }

  numberOf(first: number, second: number): number {
    const pair = first * this.#secondBelow + second
    if (second >= this.#secondBelow || !Number.isSafeInteger(pair)) throw new Error(`Cannot number ${first}, ${second}`)
    let number = this.#numbers.get(pair)
    if (number === undefined) {
      number = this.#numbers.size
      this.#numbers.set(pair, number)
    }
    return number
  }
}

const NOBODY: RetentionIdentity = {
  namespace: undefined,
  pod: undefined,
  container: undefined,
  source: 'unknown',
  isTrusted: false,
}
