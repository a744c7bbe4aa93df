import type { X509Certificate } from 'node:crypto'

/** Who may speak for others, and how. */
export interface FrontProxy {
  readonly authorities: readonly X509Certificate[]
  /** Common names; an empty list allows nobody. */
  readonly allowedNames: readonly string[]
  readonly userHeaders: readonly string[]
  readonly groupHeaders: readonly string[]
  readonly extraPrefixes: readonly string[]
}

/** Two lists that never mix: an authority for proxies must not make users, nor one for users proxies. */
export interface Authorities {
  readonly clients: readonly X509Certificate[]
  readonly frontProxy: FrontProxy
}

/** All of them together, for the TLS layer. */
export interface TrustedAuthorities {
  readonly all: () => readonly X509Certificate[]
  /** Calls back when they have changed. */
  readonly onChange: (listener: () => void) => void
}

export const NO_AUTHORITIES: Authorities = {
  clients: [],
  frontProxy: { authorities: [], allowedNames: [], userHeaders: [], groupHeaders: [], extraPrefixes: [] },
}
