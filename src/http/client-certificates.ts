import { constants, type X509Certificate } from 'node:crypto'
import type { Server } from 'node:http'
import type { Socket } from 'node:net'
import type { SecureContextOptions, TLSSocket } from 'node:tls'
import { trustAnchorPem } from '../access/certificate-bundle.ts'
import type { TrustedAuthorities } from '../access/client-authorities.ts'
import type { ShownCertificates } from '../access/credentials.ts'

/** Certificates read per chain; one more than a valid chain may have, so that longer chains are still rejected. */
const MAX_CERTIFICATES = 9

const shown = new WeakMap<Socket, ShownCertificates>()

/** Returns the client certificates of a connection; undefined if the client sent none. */
export function certificatesOf(socket: Socket): ShownCertificates | undefined {
  return shown.get(socket)
}

/**
 * Returns the TLS options that verify client certificates. Session resumption is off: a resumed session carries a
 * certificate without a new proof, and keeps trusting a CA that has been removed. Renegotiation is off because it could
 * replace the certificate after it was verified.
 */
export function clientVerification(authorities: TrustedAuthorities): SecureContextOptions {
  return {
    ca: authorities.all().map(trustAnchorPem),
    secureOptions: constants.SSL_OP_NO_TICKET | constants.SSL_OP_NO_RENEGOTIATION,
  }
}

/**
 * Records the client certificates of each connection right after its handshake. After the CAs change, a connection with
 * a rejected certificate closes with its next response, because a new handshake may succeed.
 */
export function noteClientCertificates(server: Server, authorities: TrustedAuthorities): void {
  let generation = 0
  const refused = new WeakMap<Socket, number>()
  authorities.onChange(() => {
    generation += 1
  })
  server.prependListener('secureConnection', (socket: TLSSocket) => {
    const sent = sentBy(socket)
    if (sent.length === 0) return
    const problem = socket.authorized ? undefined : String(socket.authorizationError)
    shown.set(socket, { sent, problem })
    if (problem !== undefined) refused.set(socket, generation)
  })
  server.prependListener('request', ({ socket }, response) => {
    const judgedAt = refused.get(socket)
    if (judgedAt !== undefined && judgedAt !== generation) response.shouldKeepAlive = false
  })
}

function sentBy(socket: TLSSocket): readonly X509Certificate[] {
  const certificates: X509Certificate[] = []
  let next = socket.getPeerX509Certificate()
  while (next !== undefined && certificates.length < MAX_CERTIFICATES) {
    certificates.push(next)
    next = next.issuerCertificate
  }
  return certificates
}
