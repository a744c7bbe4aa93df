import type { X509Certificate } from 'node:crypto'
import type { Principal } from './principal.ts'

/** The client certificates of a connection, as its handshake left them. */
export interface ShownCertificates {
  /** The caller's own first, then what it sent along, in its order. */
  readonly sent: readonly X509Certificate[]
  /**
   * Why OpenSSL finds no valid chain to a CA that was trusted at the handshake, as its code (`CERT_HAS_EXPIRED`).
   * Undefined: it has found one.
   */
  readonly problem: string | undefined
}

/** What a request shows of who sends it. */
export interface Credentials {
  /** The header `Authorization`. */
  readonly authorization: string | undefined
  /** The same object for each request of a connection. */
  readonly connection?: object
  /** Those of the connection, the same object for each of its requests; undefined without any. */
  readonly certificates: ShownCertificates | undefined
  /** Every header by its name in small letters, each value by itself. */
  readonly headers: Readonly<Record<string, readonly string[] | undefined>>
}

export interface Identity {
  readonly principal: Principal
  /** When to look again, in milliseconds. */
  readonly until: number
}

/** Undefined without one. */
export function bearerToken(authorization: string | undefined): string | undefined {
  return /^bearer +(\S+) *$/i.exec(authorization ?? '')?.[1]
}
