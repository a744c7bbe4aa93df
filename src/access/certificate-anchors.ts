import type { X509Certificate } from 'node:crypto'

/** What a chain that OpenSSL found valid may stand on. */
export type Anchors =
  | {
      readonly isUsable: true
      /** SHA-256 fingerprints of the CA certificates that end it. OpenSSL took one of them, and does not tell which. */
      readonly fingerprints: readonly string[]
      /** When the first certificate that may be part of the chain ends, in milliseconds. */
      readonly until: number
    }
  | { readonly isUsable: false; readonly reason: string }

/** Real chains have two or three; each one more is compared with each other one. */
const MAX_SENT = 8

/** RSA keys below this are refused, as by the CA/Browser Forum and by OpenSSL at its level 2. */
const MIN_RSA_BITS = 2048

/** SHA-256 and better: with RSA, with RSA-PSS (whose digest OpenSSL checks), with ECDSA, Ed25519 and Ed448, ML-DSA. */
const STRONG_SIGNATURES = [
  /^1\.2\.840\.113549\.1\.1\.1[0-3]$/,
  /^1\.2\.840\.10045\.4\.3\.[2-4]$/,
  /^1\.3\.101\.11[23]$/,
  /^2\.16\.840\.1\.101\.3\.4\.3\.1[7-9]$/,
]

/**
 * Finds the CA certificates on which a chain may stand. `sent` is what the client sent and OpenSSL verified, its own
 * first; `known` has every CA certificate that OpenSSL may have trusted then, by fingerprint. This checks nothing that
 * OpenSSL checks, such as dates, constraints and usages: it follows every way up from the client's certificate, and
 * OpenSSL's own is one of them. Whoever trusts all of what is found trusts what OpenSSL found.
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
    // A key of a kind that is not supported: OpenSSL has not used it either.
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
