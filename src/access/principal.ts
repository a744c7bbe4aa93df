/** An authenticated caller. */
export interface Principal {
  readonly user: string
  readonly uid?: string
  readonly groups: readonly string[]
  readonly extra?: Readonly<Record<string, readonly string[]>>
}

/** The caller on the unix socket, which only root on this node can open. */
export const LOCAL_ROOT: Principal = { user: 'system:local-root', groups: [] }

/** Every caller in the mode without authentication. */
export const ANONYMOUS: Principal = { user: 'system:anonymous', groups: [] }

/**
 * User names with a meaning of their own in the custody log and the API. No caller may authenticate
 * under one of them.
 */
export const RESERVED_USERS: ReadonlySet<string> = new Set([
  LOCAL_ROOT.user,
  ANONYMOUS.user,
  // The agent itself.
  'system:checkpoint-agent',
])

/**
 * Group of every authenticated caller. The API server adds it for tokens, and the agent for
 * certificates.
 */
export const AUTHENTICATED_GROUP = 'system:authenticated'
