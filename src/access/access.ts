import type { Clock } from '../shared/clock.ts'
import { InvalidInputError } from '../shared/errors.ts'
import type { Logger } from '../shared/logger.ts'
import { ApiServerClient, type ApiServer } from './api-server-client.ts'
import { AuthoritiesSource } from './authorities-source.ts'
import { CertificateAuthenticator } from './certificate-authenticator.ts'
import { parseBundle } from './certificate-bundle.ts'
import type { TrustedAuthorities } from './client-authorities.ts'
import { bearerToken, type Credentials, type Identity } from './credentials.ts'
import { ANONYMOUS, RESERVED_USERS } from './principal.ts'
import type { Authorizer } from './question.ts'
import { ReviewAuthorizer } from './review-authorizer.ts'
import { TokenAuthenticator } from './token-authenticator.ts'
import { parseTokenFile } from './token-file.ts'
import { TokenFileAccess } from './token-file-access.ts'
import { watchFile, type WatchedFile } from './watched-file.ts'

/** Authenticates callers and decides what they may do. */
export interface Access {
  /**
   * Identifies the caller; undefined if the credentials are not valid. Throws UnavailableError
   * (`AuthorizationUnavailable`).
   */
  readonly authenticate: (credentials: Credentials) => Identity | undefined | Promise<Identity | undefined>
  readonly authorizer: Authorizer
  /** True if callers may authenticate with a client certificate. */
  readonly takesCertificates: boolean
  /**
   * CAs that the TLS layer trusts for client certificates. Absent if client certificates are not
   * accepted.
   */
  readonly clientAuthorities?: TrustedAuthorities
  /**
   * True if the port serves only programs on this machine: no web pages and no other host names.
   */
  readonly isLoopbackOnly?: boolean
  /** Checks for changed files and CAs immediately; used by tests and signal handlers. */
  readonly refresh: () => Promise<void>
  readonly stop: () => void
}

export type AccessOptions = { readonly clock: Clock; readonly logger: Logger } & (
  | { readonly mode: 'none' }
  | { readonly mode: 'tokens'; readonly tokensFile: string }
  | KubernetesAccess
)

export interface KubernetesAccess {
  readonly mode: 'kubernetes'
  readonly api: { readonly url: string; readonly tokenFile: string; readonly caFile: string }
  readonly audiences: readonly string[]
  readonly tokenTtlMs: number
  readonly allowTtlMs: number
  readonly denyTtlMs: number
  /** File with CAs for client certificates, in addition to those of the cluster. */
  readonly clientCaFile: string | undefined
  /** True if the client certificates of the cluster's users and front proxies are accepted. */
  readonly clusterCertificates: boolean
}

/**
 * Opens the configured mode of access. Throws InvalidInputError for files that cannot be used. The
 * API server does not have to be reachable yet.
 */
export async function openAccess(options: AccessOptions): Promise<Access> {
  if (options.mode === 'none') return { ...OPEN_TO_ALL, isLoopbackOnly: true }
  return options.mode === 'tokens' ? openTokenFile(options) : openKubernetes(options)
}

/** Treats every caller as anonymous and allows everything. Use it only on the loopback address. */
export const OPEN_TO_ALL: Access = {
  authenticate: () => ({ principal: ANONYMOUS, until: Number.POSITIVE_INFINITY }),
  authorizer: { isOpen: true, decide: () => ({ isAllowed: true, until: Number.POSITIVE_INFINITY }) },
  takesCertificates: false,
  refresh: async () => {},
  stop: () => {},
}

/**
 * Time after which a long response checks its permission again, since a token file has no cache
 * entry that expires.
 */
const TOKEN_FILE_MS = 10_000

async function openTokenFile({
  tokensFile,
  clock,
  logger,
}: Extract<AccessOptions, { mode: 'tokens' }>): Promise<Access> {
  const parse = (text: string) => parseTokenFile(text, tokensFile)
  const file = await watchFile({ path: tokensFile, what: 'file of tokens', parse, logger })
  const users = new TokenFileAccess(() => file.current())
  const until = () => clock.now().getTime() + TOKEN_FILE_MS
  return {
    authenticate: ({ authorization }) => {
      const token = bearerToken(authorization)
      const principal = token === undefined ? undefined : users.authenticate(token)
      return principal && { principal, until: until() }
    },
    authorizer: { decide: (principal, question) => ({ ...users.decide(principal, question), until: until() }) },
    takesCertificates: false,
    refresh: () => file.refresh(),
    stop: () => file.stop(),
  }
}

async function openKubernetes(
  options: KubernetesAccess & { readonly clock: Clock; readonly logger: Logger },
): Promise<Access> {
  const { clientCaFile = '', logger } = options
  const what = 'file of client authorities'
  const file =
    clientCaFile === ''
      ? undefined
      : await watchFile({ path: clientCaFile, what, parse: (text) => parseAuthorities(text, clientCaFile), logger })
  const api = new ApiServerClient({ ...options.api, logger })
  const { authorities, ...access } = kubernetesAccess({ ...options, api, ...(file !== undefined && { file }) })
  authorities.start()
  return {
    ...access,
    clientAuthorities: authorities,
    refresh: async () => {
      await file?.refresh()
      await authorities.refresh()
    },
    stop: () => {
      authorities.stop()
      file?.stop()
      api.close()
    },
  }
}

/** Parses the CAs of a PEM file. Throws InvalidInputError. */
function parseAuthorities(text: string, path: string) {
  const fail = (reason: string, cause?: unknown) => {
    const hint = 'server.auth.clientCaFile must hold the certificates of the CAs as PEM, one after the other.'
    const details = { code: 'InvalidAuthorities', hint, cause }
    return new InvalidInputError(`Cannot use the file of client authorities "${path}": ${reason}`, details)
  }
  let authorities: ReturnType<typeof parseBundle>
  try {
    authorities = parseBundle(text)
  } catch (error) {
    throw fail('a certificate in it cannot be read', error)
  }
  if (authorities.length === 0) throw fail('there is no certificate in it')
  return authorities
}

/** Builds the parts that depend on an API server, without depending on a particular one. */
function kubernetesAccess(
  options: Omit<KubernetesAccess, 'api'> & {
    readonly api: ApiServer
    readonly file?: WatchedFile<ReturnType<typeof parseBundle>>
    readonly clock: Clock
    readonly logger: Logger
  },
) {
  const { api, clock, logger, file, clusterCertificates, audiences, tokenTtlMs, allowTtlMs, denyTtlMs } = options
  const authorities = new AuthoritiesSource({
    logger,
    ...(file !== undefined && { file }),
    ...(clusterCertificates && { api }),
  })
  const certificates = new CertificateAuthenticator({ authorities, clock, logger })
  const tokens = new TokenAuthenticator({ api, clock, audiences, ttlMs: tokenTtlMs })

  const authenticate = async (credentials: Credentials): Promise<Identity | undefined> => {
    const token = bearerToken(credentials.authorization)
    const shown = token === undefined ? certificates.authenticate(credentials) : tryCertificates(credentials)
    if (shown !== undefined) return unlessReserved(shown)
    if (token === undefined) return undefined
    const { value, until } = await tokens.authenticate(token, credentials.connection)
    return value && unlessReserved({ principal: value, until })
  }
  /**
   * Ignores certificates that cannot be checked, because the token beside them may still be valid.
   */
  const tryCertificates = (credentials: Credentials) => {
    try {
      return certificates.authenticate(credentials)
    } catch {
      return undefined
    }
  }
  const authorizer = new ReviewAuthorizer({ api, clock, allowTtlMs, denyTtlMs })
  return { authorities, authenticate, authorizer, takesCertificates: true }
}

function unlessReserved(identity: Identity): Identity | undefined {
  return RESERVED_USERS.has(identity.principal.user) ? undefined : identity
}
