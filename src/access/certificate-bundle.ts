import { X509Certificate } from 'node:crypto'

/** Parses the certificates of a PEM bundle. Throws if one of them cannot be read. */
export function parseBundle(pem: string): X509Certificate[] {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[\s\S]*?-----END CERTIFICATE-----/g) ?? []
  return blocks.map((block) => new X509Certificate(block))
}

/**
 * Output of `openssl x509 -addtrust clientAuth`: a sequence of one sequence with that one object
 * identifier.
 */
const TRUSTED_FOR_CLIENTS = Buffer.from('300c300a06082b06010505070302', 'hex')

/**
 * Writes a CA certificate as OpenSSL's "trusted certificate". It is a trust anchor for client
 * certificates even if it is an intermediate, such as a cluster CA issued by a company's CA. A
 * Node.js server has no setting for that.
 */
export function trustAnchorPem(certificate: X509Certificate): string {
  const base64 = Buffer.concat([certificate.raw, TRUSTED_FOR_CLIENTS]).toString('base64')
  const lines = base64.match(/.{1,64}/g) ?? []
  return ['-----BEGIN TRUSTED CERTIFICATE-----', ...lines, '-----END TRUSTED CERTIFICATE-----', ''].join('\n')
}
