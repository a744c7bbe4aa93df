import type { X509Certificate } from 'node:crypto'
import type { Principal } from './principal.ts'

/** The client certificates of a connection, as received at its handshake. */
export interface ShownCertificates {
  /** Certificates in the order that the client sent them, its own first. */
  readonly sent: readonly X509Certificate[]
  /**
   * OpenSSL error code if there is no valid chain to a trusted CA, such as `CERT_HAS_EXPIRED`.
   * Undefined if the chain is valid.
   */
  readonly problem: string | undefined
}

/** The credentials of a request. */
export interface Credentials {
  /** The `Authorization` header. */
  readonly authorization: string | undefined
  /** Identifies the connection: the same object for all of its requests. */
  readonly connection?: object
  /**
   * Client certificates of the connection, the same object for all of its requests; undefined if
   * there are none.
   */
  readonly certificates: ShownCertificates | undefined
  /** All headers by lowercase name, each value separately. */
  readonly headers: Readonly<Record<string, readonly string[] | undefined>>
}

export interface Identity {
  readonly principal: Principal
  /** Time to authenticate again, in milliseconds. */
  readonly until: number
}

/** Extracts the bearer token; undefined if there is none. */
export function bearerToken(authorization: string | undefined): string | undefined {
  return /^bearer +(\S+) *$/i.exec(authorization ?? '')?.[1]
}
