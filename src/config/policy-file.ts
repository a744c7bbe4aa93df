import { readFileSync, statSync } from 'node:fs'
import { isDeepStrictEqual } from 'node:util'
import { SHIPPED_POLICY, type Policy } from '../retention/policy.ts'
import { errorText } from '../shared/errors.ts'
import { ConfigError, loadPolicy } from './load-config.ts'

export interface PolicyFileOptions {
  readonly path: string
  /** In force now, as it was read at the start. */
  readonly policy: Policy
  readonly onPolicy: (policy: Policy) => void
  /** The old policy stays in force. */
  readonly onMistakes: (mistakes: readonly string[]) => void
  readonly intervalMs?: number
}

/** A file that a ConfigMap shows is another one behind the same links: to look is surer than to be told. */
const INTERVAL_MS = 5_000

/** Reads the policy again when its file has changed. What else stands in the file waits for the next start. */
export class PolicyFile {
  readonly #options: PolicyFileOptions
  readonly #timer: NodeJS.Timeout
  #policy: Policy
  /** What stands in the file now is not what is in force. */
  #isRefused = false
  #seen: string | undefined
  /** Undefined: nothing since the start, when it may have changed after it was read. */
  #read: string | undefined

  constructor(options: PolicyFileOptions) {
    this.#options = options
    this.#policy = options.policy
    this.#timer = setInterval(() => this.look(), options.intervalMs ?? INTERVAL_MS)
    this.#timer.unref()
  }

  stop(): void {
    clearInterval(this.#timer)
  }

  look(): void {
    const now = stateOf(this.#options.path)
    // Of a file that is being written only a part may be there, and a policy without its last rules keeps less.
    const isAtRest = now === this.#seen
    this.#seen = now
    if (!isAtRest || now === this.#read) return
    this.#read = now
    this.#readAgain()
  }

  #readAgain(): void {
    try {
      const policy = loadPolicy(this.#options.path, (file) => readFileSync(file, 'utf8'))
      // An empty file says nothing either: too little to let go of what somebody wrote to be kept.
      if (policy === undefined && this.#policy !== SHIPPED_POLICY) {
        this.#refuse([
          `retention: it is gone from ${this.#options.path}; the shipped policy holds from the next start on`,
        ])
      } else this.#accept(policy ?? SHIPPED_POLICY)
    } catch (error) {
      this.#refuse(error instanceof ConfigError ? error.mistakes : [errorText(error)])
    }
  }

  #accept(policy: Policy): void {
    if (!this.#isRefused && isDeepStrictEqual(policy, this.#policy)) return
    this.#isRefused = false
    this.#policy = policy
    this.#options.onPolicy(policy)
  }

  #refuse(mistakes: readonly string[]): void {
    this.#isRefused = true
    this.#options.onMistakes(mistakes)
  }
}

function stateOf(path: string): string {
  const stat = statSync(path, { bigint: true, throwIfNoEntry: false })
  return stat === undefined ? 'gone' : [stat.dev, stat.ino, stat.size, stat.mtimeNs, stat.ctimeNs].join(' ')
}
