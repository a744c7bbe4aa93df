/** Who asks, as authentication found out. */
export interface Principal {
  readonly user: string
  readonly uid?: string
  readonly groups: readonly string[]
  readonly extra?: Readonly<Record<string, readonly string[]>>
}

/** Whoever comes over the unix socket: the system lets nobody but root of this node open it. */
export const LOCAL_ROOT: Principal = { user: 'system:local-root', groups: [] }

/** Anyone, in the mode without authentication. */
export const ANONYMOUS: Principal = { user: 'system:anonymous', groups: [] }

/** Names that the custody log and this API give a meaning of their own: nobody from outside may come under one of them. */
export const RESERVED_USERS: ReadonlySet<string> = new Set([
  LOCAL_ROOT.user,
  ANONYMOUS.user,
  // What the agent does by itself.
  'system:checkpoint-agent',
])

/** Everyone whose credentials are good is in it; the API server says so of tokens, and we of certificates. */
export const AUTHENTICATED_GROUP = 'system:authenticated'
