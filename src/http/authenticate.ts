import type { IncomingMessage } from 'node:http'
import type { Access } from '../access/access.ts'
import type { Credentials, Identity } from '../access/credentials.ts'
import { LOCAL_ROOT } from '../access/principal.ts'
import { NotAuthenticatedError } from '../shared/errors.ts'
import { isLocalRoot, rememberPrincipal } from './caller.ts'
import { certificatesOf } from './client-certificates.ts'

/**
 * Authenticates the caller and remembers the principal for the request. Returns undefined if no credentials are
 * accepted. Throws UnavailableError.
 */
export async function identify(req: IncomingMessage, access: Access): Promise<Identity | undefined> {
  if (isLocalRoot(req)) return { principal: LOCAL_ROOT, until: Number.POSITIVE_INFINITY }
  const identity = await access.authenticate(credentialsOf(req))
  if (identity !== undefined) rememberPrincipal(req, identity.principal)
  return identity
}

/** Authenticates the caller. Throws NotAuthenticatedError if no credentials are accepted, and UnavailableError. */
export async function identifyOrRefuse(req: IncomingMessage, access: Access): Promise<Identity> {
  const identity = await identify(req, access)
  if (identity !== undefined) return identity
  throw new NotAuthenticatedError('Cannot tell who you are: the request shows no credentials that are good here', {
    code: 'Unauthenticated',
    hint: access.takesCertificates
      ? 'Send a token of the cluster as "Authorization: Bearer ...", or a client certificate of the cluster.'
      : 'Send a token as "Authorization: Bearer ...".',
  })
}

function credentialsOf(req: IncomingMessage): Credentials {
  return {
    authorization: req.headers.authorization,
    connection: req.socket,
    certificates: certificatesOf(req.socket),
    headers: req.headersDistinct,
  }
}
