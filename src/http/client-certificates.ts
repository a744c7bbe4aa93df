import { constants, type X509Certificate } from 'node:crypto'
import type { Server } from 'node:http'
import type { Socket } from 'node:net'
import type { SecureContextOptions, TLSSocket } from 'node:tls'
import { trustAnchorPem } from '../access/certificate-bundle.ts'
import type { TrustedAuthorities } from '../access/client-authorities.ts'
import type { ShownCertificates } from '../access/credentials.ts'

/** One more than a chain may have: it is refused, and the rest need not be read. */
const MAX_CERTIFICATES = 9

const shown = new WeakMap<Socket, ShownCertificates>()

/** The certificates of the connection that a request came over; undefined without any. */
export function certificatesOf(socket: Socket): ShownCertificates | undefined {
  return shown.get(socket)
}

/**
 * The part of a TLS context that verifies client certificates. No session is resumed, which would bring a certificate
 * along without a proof and keep a CA of yesterday trusted; none is renegotiated, which would exchange the certificate
 * behind the verdict on it.
 */
export function clientVerification(authorities: TrustedAuthorities): SecureContextOptions {
  return {
    ca: authorities.all().map(trustAnchorPem),
    secureOptions: constants.SSL_OP_NO_TICKET | constants.SSL_OP_NO_RENEGOTIATION,
  }
}

/**
 * Notes what each connection shows, right after its handshake. A connection whose certificate was refused closes with
 * its next answer once the CAs have changed: another handshake may end differently.
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
