import type { X509Certificate } from 'node:crypto'
import { errorText } from '../shared/errors.ts'
import type { Logger } from '../shared/logger.ts'
import type { ApiServer } from './api-server-client.ts'
import { ApiServerError } from './api-server-error.ts'
import { readAuthenticationConfigMap } from './authentication-config-map.ts'
import { NO_AUTHORITIES, type Authorities, type TrustedAuthorities } from './client-authorities.ts'

export interface AuthoritiesSourceOptions {
  /** Client of the API server. If absent, the CAs of the cluster are not used. */
  readonly api?: ApiServer
  /** CAs from a file, which may change. */
  readonly file?: {
    readonly current: () => readonly X509Certificate[]
    readonly onChange: (listener: () => void) => void
  }
  readonly logger: Logger
}

const REFRESH_MS = 60_000

/**
 * Time between attempts until the first one succeeds, because callers with certificates wait for
 * it.
 */
const FIRST_REFRESH_MS = 5_000

/**
 * Permanent refusals: the chart was installed without the Role, or the API server does not publish
 * its CAs.
 */
const NOT_THERE: ReadonlySet<number | undefined> = new Set([403, 404])

/**
 * Holds the CAs that are trusted now, from the file and from the cluster. `current()` returns a new
 * object after every change.
 */
export class AuthoritiesSource implements TrustedAuthorities {
  readonly #options: AuthoritiesSourceOptions
  #ofCluster: Authorities = NO_AUTHORITIES
  #current: Authorities = NO_AUTHORITIES
  readonly #known = new Map<string, X509Certificate>()
  readonly #listeners: (() => void)[] = []
  #isComplete: boolean
  #timer: NodeJS.Timeout | undefined
  #isStopped = false
  /** Reason of the last failure, which is logged once. */
  #problem: string | undefined

  constructor(options: AuthoritiesSourceOptions) {
    this.#options = options
    this.#join()
    options.file?.onChange(() => this.#join())
    this.#isComplete = options.api === undefined
  }

  /** True once the cluster has answered, or refused permanently. */
  get isComplete(): boolean {
    return this.#isComplete
  }

  current(): Authorities {
    return this.#current
  }

  /** Returns every CA certificate that was ever trusted, by its fingerprint. */
  known(): ReadonlyMap<string, X509Certificate> {
    return this.#known
  }

  all(): readonly X509Certificate[] {
    const { clients, frontProxy } = this.#current
    return [...clients, ...frontProxy.authorities]
  }

  onChange(listener: () => void): void {
    this.#listeners.push(listener)
  }

  /** Starts polling; does not wait for the first response. */
  start(): void {
    void this.#keepLooking()
  }

  stop(): void {
    this.#isStopped = true
    clearTimeout(this.#timer)
  }

  /** Reads the CAs of the cluster once. On failure, the known CAs stay in use. */
  async refresh(): Promise<void> {
    const { api, logger } = this.#options
    if (api === undefined) return
    try {
      const next = await readAuthenticationConfigMap(api)
      this.#isComplete = true
      this.#problem = undefined
      if (isSame(next, this.#ofCluster)) return
      this.#ofCluster = next
      this.#join()
      const { clients, frontProxy } = next
      logger.info({ clients: clients.length, frontProxies: frontProxy.authorities.length }, 'Client authorities read')
    } catch (error) {
      if (error instanceof ApiServerError && NOT_THERE.has(error.status)) this.#isComplete = true
      if (errorText(error) === this.#problem) return
      this.#problem = errorText(error)
      logger.warn({ err: error }, 'Client authorities of the cluster cannot be read, those known stay in use')
    }
  }

  #join(): void {
    const { clients, frontProxy } = this.#ofCluster
    this.#current = { clients: [...(this.#options.file?.current() ?? []), ...clients], frontProxy }
    for (const certificate of this.all()) this.#known.set(certificate.fingerprint256, certificate)
    for (const listener of this.#listeners) listener()
  }

  async #keepLooking(): Promise<void> {
    await this.refresh()
    if (this.#isStopped || this.#options.api === undefined) return
    const pause = this.#isComplete ? REFRESH_MS : FIRST_REFRESH_MS
    this.#timer = setTimeout(() => void this.#keepLooking(), pause)
    this.#timer.unref()
  }
}

function isSame(one: Authorities, other: Authorities): boolean {
  return fingerprint(one) === fingerprint(other)
}

function fingerprint({ clients, frontProxy }: Authorities): string {
  return JSON.stringify([prints(clients), { ...frontProxy, authorities: prints(frontProxy.authorities) }])
}

function prints(certificates: readonly X509Certificate[]): readonly string[] {
  return certificates.map(({ fingerprint256 }) => fingerprint256)
}
