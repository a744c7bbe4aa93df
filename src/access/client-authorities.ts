import type { X509Certificate } from 'node:crypto'

/** Configures which proxies may speak for other users, and through which headers. */
export interface FrontProxy {
  readonly authorities: readonly X509Certificate[]
  /** Common names; an empty list allows no proxy. */
  readonly allowedNames: readonly string[]
  readonly userHeaders: readonly string[]
  readonly groupHeaders: readonly string[]
  readonly extraPrefixes: readonly string[]
}

/**
 * Keeps the CAs of users and of proxies apart: a CA for proxies must not issue users, nor a CA for
 * users proxies.
 */
export interface Authorities {
  readonly clients: readonly X509Certificate[]
  readonly frontProxy: FrontProxy
}

/** All trusted CAs together, for the TLS layer. */
export interface TrustedAuthorities {
  readonly all: () => readonly X509Certificate[]
  /** Calls the listener after the CAs have changed. */
  readonly onChange: (listener: () => void) => void
}

export const NO_AUTHORITIES: Authorities = {
  clients: [],
  frontProxy: { authorities: [], allowedNames: [], userHeaders: [], groupHeaders: [], extraPrefixes: [] },
}
