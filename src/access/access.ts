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

/** Who asks, and what may they do. */
export interface Access {
  /** Undefined: nobody we know. Throws UnavailableError (`AuthorizationUnavailable`). */
  readonly authenticate: (credentials: Credentials) => Identity | undefined | Promise<Identity | undefined>
  readonly authorizer: Authorizer
  /** Whether a caller may show a certificate. */
  readonly takesCertificates: boolean
  /** Which CAs client certificates must lead to, where they are taken. */
  readonly clientAuthorities?: TrustedAuthorities
  /** Whether the port serves programs on this machine only: no web page, no other host name. */
  readonly isLoopbackOnly?: boolean
  /** Looks for changes at once, for tests and signals. */
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
  /** Authorities of client certificates, beside those of the cluster. */
  readonly clientCaFile: string | undefined
  /** Whether the certificates of the cluster's own users and front proxies are taken. */
  readonly clusterCertificates: boolean
}

/** Throws InvalidInputError for files that cannot be used. The API server need not answer yet. */
export async function openAccess(options: AccessOptions): Promise<Access> {
  if (options.mode === 'none') return { ...OPEN_TO_ALL, isLoopbackOnly: true }
  return options.mode === 'tokens' ? openTokenFile(options) : openKubernetes(options)
}

/** Everyone is anonymous and may do everything: for the loopback address only. */
export const OPEN_TO_ALL: Access = {
  authenticate: () => ({ principal: ANONYMOUS, until: Number.POSITIVE_INFINITY }),
  authorizer: { isOpen: true, decide: () => ({ isAllowed: true, until: Number.POSITIVE_INFINITY }) },
  takesCertificates: false,
  refresh: async () => {},
  stop: () => {},
}

/** How long what a long answer was allowed by is believed, where there is no cache whose entry could end. */
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

/** Throws InvalidInputError. */
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

/** The parts that stand on an API server, whichever it is. */
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
  /** A token beside it may still be good. */
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
