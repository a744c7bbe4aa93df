import type { X509Certificate } from 'node:crypto'
import type { Clock } from '../shared/clock.ts'
import type { Logger } from '../shared/logger.ts'
import { ApiServerError } from './api-server-error.ts'
import { verifyClientChain, type ChainVerdict } from './certificate-chain.ts'
import { subjectOf } from './certificate-subject.ts'
import type { Authorities } from './client-authorities.ts'
import type { Credentials, Identity } from './credentials.ts'
import { readFrontProxyHeaders } from './front-proxy-headers.ts'
import { AUTHENTICATED_GROUP, type Principal } from './principal.ts'

export interface CertificateAuthenticatorOptions {
  readonly authorities: { readonly current: () => Authorities; readonly isComplete: boolean }
  readonly clock: Clock
  readonly logger: Logger
}

interface Verdicts {
  readonly authorities: Authorities
  readonly at: number
  readonly asProxy: ChainVerdict
  readonly asClient: ChainVerdict
  readonly client: Principal | undefined
}

/** How long a verdict on one connection's certificate holds while the authorities stay the same. */
const VERDICT_MS = 60_000

/** Finds out who shows a client certificate: a proxy that speaks for somebody, or a user. */
export class CertificateAuthenticator {
  readonly #options: CertificateAuthenticatorOptions
  readonly #verdicts = new WeakMap<X509Certificate, Verdicts>()

  constructor(options: CertificateAuthenticatorOptions) {
    this.#options = options
  }

  /** Undefined: there is none, or it is no good. Throws ApiServerError where the authorities are not known yet. */
  authenticate({ certificates, headers }: Credentials): Identity | undefined {
    const [leaf] = certificates
    if (leaf === undefined) return undefined
    const { asProxy, asClient, client, authorities } = this.#verdictsOn(leaf, certificates)
    const { frontProxy } = authorities
    if (asProxy.isTrusted && isAllowedName(leaf, frontProxy.allowedNames)) {
      const named = readFrontProxyHeaders(headers, frontProxy)
      if (named !== undefined) return { principal: authenticated(named), until: asProxy.until }
    }
    if (asClient.isTrusted && client !== undefined) return { principal: client, until: asClient.until }
    if (!this.#options.authorities.isComplete) {
      throw new ApiServerError('the authorities that client certificates are checked against are not known yet')
    }
    return undefined
  }

  #verdictsOn(leaf: X509Certificate, certificates: readonly X509Certificate[]): Verdicts {
    const authorities = this.#options.authorities.current()
    const now = this.#options.clock.now()
    const known = this.#verdicts.get(leaf)
    if (known !== undefined && isFresh(known, authorities, now.getTime())) return known
    const subject = subjectOf(leaf)
    const verdicts: Verdicts = {
      authorities,
      at: now.getTime(),
      asProxy: verifyClientChain(certificates, authorities.frontProxy.authorities, now),
      asClient: verifyClientChain(certificates, authorities.clients, now),
      client: subject && authenticated(subject),
    }
    this.#verdicts.set(leaf, verdicts)
    if (!verdicts.asProxy.isTrusted && !verdicts.asClient.isTrusted) {
      const { reason } = verdicts.asClient
      this.#options.logger.info({ subject: subject?.user, reason }, 'Client certificate is not good')
    }
    return verdicts
  }
}

function isFresh({ authorities, at, asProxy, asClient }: Verdicts, current: Authorities, now: number): boolean {
  const hasEnded = (verdict: ChainVerdict) => verdict.isTrusted && verdict.until <= now
  return authorities === current && now >= at && now - at < VERDICT_MS && !hasEnded(asProxy) && !hasEnded(asClient)
}

function isAllowedName(leaf: X509Certificate, names: readonly string[]): boolean {
  const subject = subjectOf(leaf)
  return subject !== undefined && names.includes(subject.user)
}

function authenticated(principal: Principal): Principal {
  if (principal.groups.includes(AUTHENTICATED_GROUP)) return principal
  return { ...principal, groups: [...principal.groups, AUTHENTICATED_GROUP] }
}
