import { readFileSync, statSync } from 'node:fs'
import { isDeepStrictEqual } from 'node:util'
import { SHIPPED_POLICY, type Policy } from '../retention/policy.ts'
import { errorText } from '../shared/errors.ts'
import { ConfigError, loadPolicy } from './load-config.ts'

export interface PolicyFileOptions {
  readonly path: string
  /** The policy in force, as read at the start. */
  readonly policy: Policy
  readonly onPolicy: (policy: Policy) => void
  /** Called for a policy that is not valid; the old one stays in force. */
  readonly onMistakes: (mistakes: readonly string[]) => void
  readonly intervalMs?: number
}

/**
 * Polling interval. A mounted ConfigMap replaces the file behind symbolic links, which file events
 * miss.
 */
const INTERVAL_MS = 5_000

/**
 * Reloads the policy when its file changes. Other changed settings in the file apply at the next
 * start.
 */
export class PolicyFile {
  readonly #options: PolicyFileOptions
  readonly #timer: NodeJS.Timeout
  #policy: Policy
  /** True if the present content of the file is not the policy in force. */
  #isRefused = false
  #seen: string | undefined
  /** Undefined until the first reload: the file may have changed after it was read at the start. */
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
    // A file that is being written may be incomplete, and a policy without its last rules keeps
    // fewer archives.
    const isAtRest = now === this.#seen
    this.#seen = now
    if (!isAtRest || now === this.#read) return
    this.#read = now
    this.#readAgain()
  }

  #readAgain(): void {
    try {
      const policy = loadPolicy(this.#options.path, (file) => readFileSync(file, 'utf8'))
      // An empty file must not replace a policy whose author wanted archives kept.
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
