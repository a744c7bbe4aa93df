import type { X509Certificate } from 'node:crypto'

/** The trust anchors that a certificate chain verified by OpenSSL may end in. */
export type Anchors =
  | {
      readonly isUsable: true
      /**
       * SHA-256 fingerprints of the CA certificates that may end the chain. OpenSSL used one of
       * them and does not report which.
       */
      readonly fingerprints: readonly string[]
      /** Expiry of the first certificate in the possible chains, in milliseconds. */
      readonly until: number
    }
  | { readonly isUsable: false; readonly reason: string }

/**
 * Certificates accepted per client. Real chains have two or three, and every further one is
 * compared with all others.
 */
const MAX_SENT = 8

/**
 * Shortest RSA key accepted, as in the CA/Browser Forum's requirements and OpenSSL's security level
 * 2.
 */
const MIN_RSA_BITS = 2048

/**
 * Signatures with SHA-256 or better: RSA, RSA-PSS (OpenSSL checks its digest), ECDSA, Ed25519,
 * Ed448 and ML-DSA.
 */
const STRONG_SIGNATURES = [
  /^1\.2\.840\.113549\.1\.1\.1[0-3]$/,
  /^1\.2\.840\.10045\.4\.3\.[2-4]$/,
  /^1\.3\.101\.11[23]$/,
  /^2\.16\.840\.1\.101\.3\.4\.3\.1[7-9]$/,
]

/**
 * Finds the CA certificates that a chain may end in. `sent` holds the certificates that the client
 * sent and OpenSSL verified, the client's own first. `known` holds every CA certificate that
 * OpenSSL may have trusted then, by fingerprint.
 *
 * Does not repeat the checks of OpenSSL (dates, constraints, usages). It follows every path up from
 * the client's certificate, and the path that OpenSSL took is one of them. A caller that trusts all
 * anchors found therefore trusts the one that OpenSSL found.
 */
export function findAnchors(
  sent: readonly X509Certificate[],
  known: ReadonlyMap<string, X509Certificate>,
  now: Date,
): Anchors {
  const [leaf] = sent
  if (leaf === undefined) return refuse('there is none')
  if (sent.length > MAX_SENT) return refuse(`it came with more than ${String(MAX_SENT - 1)} others`)
  const issuers = [...known.values(), ...sent].filter((each) => isValidAt(each, now))
  const chain = new Map([[leaf.fingerprint256, leaf]])
  const fingerprints: string[] = []
  for (const [fingerprint, certificate] of chain) {
    const isAnchor = known.has(fingerprint)
    if (!hasStrongKey(certificate)) return refuse('a key of its chain is too short')
    if (!isAnchor && !hasStrongSignature(certificate)) return refuse('a signature of its chain is too weak')
    if (isAnchor) fingerprints.push(fingerprint)
    else for (const issuer of issuers) if (isIssuedBy(certificate, issuer)) chain.set(issuer.fingerprint256, issuer)
  }
  if (fingerprints.length === 0) return refuse('it was not issued by a CA that is trusted here')
  const until = Math.min(...[...chain.values()].map(({ validToDate }) => validToDate.getTime()))
  return { isUsable: true, fingerprints, until }
}

function isIssuedBy(certificate: X509Certificate, issuer: X509Certificate): boolean {
  try {
    return certificate.checkIssued(issuer) && certificate.verify(issuer.publicKey)
  } catch {
    // OpenSSL does not support this kind of key either, so it has not used it.
    return false
  }
}

function isValidAt({ validFromDate, validToDate }: X509Certificate, now: Date): boolean {
  return validFromDate.getTime() <= now.getTime() && now.getTime() < validToDate.getTime()
}

function hasStrongKey({ publicKey }: X509Certificate): boolean {
  const { asymmetricKeyType, asymmetricKeyDetails } = publicKey
  if (asymmetricKeyType === 'dsa') return false
  const isRsa = asymmetricKeyType === 'rsa' || asymmetricKeyType === 'rsa-pss'
  return !isRsa || (asymmetricKeyDetails?.modulusLength ?? 0) >= MIN_RSA_BITS
}

function hasStrongSignature({ signatureAlgorithmOid }: X509Certificate): boolean {
  return STRONG_SIGNATURES.some((pattern) => pattern.test(signatureAlgorithmOid))
}

function refuse(reason: string): Anchors {
  return { isUsable: false, reason }
}
