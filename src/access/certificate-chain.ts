import { X509Certificate } from 'node:crypto'
import { readExtensions } from './certificate-extensions.ts'

export type ChainVerdict =
  /** `until`: when the first certificate of the chain ends, in milliseconds. */
  { readonly isTrusted: true; readonly until: number } | { readonly isTrusted: false; readonly reason: string }

const CLIENT_AUTH = '1.3.6.1.5.5.7.3.2'
const ANY_USAGE = '2.5.29.37.0'

/** More than anyone has; what a caller sends along costs a signature check each. */
const MAX_SENT = 8
const MAX_LENGTH = 6
const MAX_CHECKS = 32

/**
 * Whether the first of `sent` is a client's certificate that leads to one of `authorities`. The others of `sent` may
 * stand between. This is not left to the TLS layer, which knows one list of authorities and we have two.
 */
export function verifyClientChain(
  sent: readonly X509Certificate[],
  authorities: readonly X509Certificate[],
  now: Date,
): ChainVerdict {
  const [leaf, ...between] = sent.slice(0, MAX_SENT)
  if (leaf === undefined) return refuse('there is none')
  const problem = problemOf(leaf, now)
  if (problem !== undefined) return refuse(`the certificate ${problem}`)
  if (!isForClients(leaf)) return refuse('the certificate is not for clients')

  let checks = 0
  let reason = 'it was not issued by an authority that is trusted here'
  const climb = (chain: readonly X509Certificate[]): number | undefined => {
    const last = chain.at(-1)
    if (last === undefined || chain.length > MAX_LENGTH) return undefined
    for (const [at, issuer] of [...authorities, ...between].entries()) {
      if (chain.includes(issuer) || !last.checkIssued(issuer)) continue
      if (++checks > MAX_CHECKS) return undefined
      const wrong = issuerProblem(issuer, { below: chain.length - 1, now })
      if (wrong !== undefined) {
        reason = `a certificate above it ${wrong}`
        continue
      }
      if (!last.verify(issuer.publicKey)) continue
      const until = Math.min(last.validToDate.getTime(), issuer.validToDate.getTime())
      const above = at < authorities.length ? until : climb([...chain, issuer])
      if (above !== undefined) return Math.min(until, above)
    }
    return undefined
  }
  const until = climb([leaf])
  return until === undefined ? refuse(reason) : { isTrusted: true, until }
}

function issuerProblem(issuer: X509Certificate, { below, now }: { below: number; now: Date }): string | undefined {
  const problem = problemOf(issuer, now)
  if (problem !== undefined) return problem
  if (!issuer.ca) return 'is none of an authority'
  if (!isForClients(issuer)) return 'is not for authorities of clients'
  const { pathLength } = extensionsOf(issuer)
  return pathLength !== undefined && below > pathLength ? 'allows no such long chain' : undefined
}

function problemOf(certificate: X509Certificate, now: Date): string | undefined {
  if (certificate.validFromDate.getTime() > now.getTime()) return 'is not valid yet'
  if (certificate.validToDate.getTime() <= now.getTime()) return 'has expired'
  const { unknownCritical } = extensionsOf(certificate)
  return unknownCritical.length > 0 ? 'demands something that is not understood here' : undefined
}

/** One that does not say what it is for is for all: so the API server takes it, and many clusters issue such. */
function isForClients(certificate: X509Certificate): boolean {
  const usages: readonly string[] | undefined = certificate.keyUsage
  return usages === undefined || usages.some((usage) => usage === CLIENT_AUTH || usage === ANY_USAGE)
}

function extensionsOf(certificate: X509Certificate) {
  try {
    return readExtensions(certificate.raw)
  } catch {
    return { pathLength: undefined, unknownCritical: ['?'] }
  }
}

function refuse(reason: string): ChainVerdict {
  return { isTrusted: false, reason }
}

/** The certificates of a PEM bundle. Throws for one that cannot be read. */
export function parseBundle(pem: string): X509Certificate[] {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[\s\S]*?-----END CERTIFICATE-----/g) ?? []
  return blocks.map((block) => new X509Certificate(block))
}
