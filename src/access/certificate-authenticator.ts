import type { X509Certificate } from 'node:crypto'
import type { Clock } from '../shared/clock.ts'
import type { Logger } from '../shared/logger.ts'
import { ApiServerError } from './api-server-error.ts'
import { findAnchors, type Anchors } from './certificate-anchors.ts'
import { subjectOf } from './certificate-subject.ts'
import type { Authorities } from './client-authorities.ts'
import type { Credentials, Identity, ShownCertificates } from './credentials.ts'
import { readFrontProxyHeaders } from './front-proxy-headers.ts'
import { AUTHENTICATED_GROUP, type Principal } from './principal.ts'

export interface CertificateAuthenticatorOptions {
  readonly authorities: {
    readonly current: () => Authorities
    readonly known: () => ReadonlyMap<string, X509Certificate>
    readonly isComplete: boolean
  }
  readonly clock: Clock
  readonly logger: Logger
}

/**
 * The result of checking a connection's certificates; valid for as long as the connection is open.
 */
interface Verdict {
  readonly anchors: Anchors
  readonly subject: Principal | undefined
}

/**
 * Authenticates callers by client certificate: a front proxy that speaks for a user, or a user.
 * OpenSSL verifies the chain at the handshake against the CAs of users and proxies together. Each
 * request then determines which of the two the chain leads to, because a CA may be removed while
 * the connection is open.
 */
export class CertificateAuthenticator {
  readonly #options: CertificateAuthenticatorOptions
  readonly #verdicts = new WeakMap<ShownCertificates, Verdict>()

  constructor(options: CertificateAuthenticatorOptions) {
    this.#options = options
  }

  /**
   * Identifies the caller; undefined if there is no valid certificate. Throws ApiServerError while
   * the CAs are not known yet.
   */
  authenticate({ certificates, headers }: Credentials): Identity | undefined {
    if (certificates === undefined) return undefined
    const { authorities, clock } = this.#options
    const { anchors, subject } = this.#verdictOn(certificates)
    const { clients, frontProxy } = authorities.current()
    if (anchors.isUsable && anchors.until > clock.now().getTime() && subject !== undefined) {
      const { fingerprints, until } = anchors
      if (isAnchoredIn(frontProxy.authorities, fingerprints) && frontProxy.allowedNames.includes(subject.user)) {
        const named = readFrontProxyHeaders(headers, frontProxy)
        if (named !== undefined) return { principal: authenticated(named), until }
      }
      if (isAnchoredIn(clients, fingerprints)) return { principal: authenticated(subject), until }
    }
    if (!authorities.isComplete) {
      throw new ApiServerError('the authorities that client certificates are checked against are not known yet')
    }
    return undefined
  }

  #verdictOn(certificates: ShownCertificates): Verdict {
    const known = this.#verdicts.get(certificates)
    if (known !== undefined) return known
    const { authorities, clock, logger } = this.#options
    const { sent, problem } = certificates
    const anchors: Anchors =
      problem === undefined
        ? findAnchors(sent, authorities.known(), clock.now())
        : { isUsable: false, reason: `OpenSSL says ${problem}` }
    const [leaf] = sent
    const verdict = { anchors, subject: leaf && subjectOf(leaf) }
    this.#verdicts.set(certificates, verdict)
    if (!anchors.isUsable) {
      logger.info({ subject: verdict.subject?.user, reason: anchors.reason }, 'Client certificate is not good')
    }
    return verdict
  }
}

function isAnchoredIn(authorities: readonly X509Certificate[], fingerprints: readonly string[]): boolean {
  const trusted = new Set(authorities.map(({ fingerprint256 }) => fingerprint256))
  return fingerprints.every((fingerprint) => trusted.has(fingerprint))
}

function authenticated(principal: Principal): Principal {
  if (principal.groups.includes(AUTHENTICATED_GROUP)) return principal
  return { ...principal, groups: [...principal.groups, AUTHENTICATED_GROUP] }
}
