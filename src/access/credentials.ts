import type { X509Certificate } from 'node:crypto'
import type { Principal } from './principal.ts'

/** What a request shows of who sends it. */
export interface Credentials {
  /** The header `Authorization`. */
  readonly authorization: string | undefined
  /** The same object for each request of a connection. */
  readonly connection?: object
  /** Those of the connection, the caller's own first. The same objects for each request of a connection. */
  readonly certificates: readonly X509Certificate[]
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
