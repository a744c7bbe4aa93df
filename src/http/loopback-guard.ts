import type { Request, RequestHandler } from 'express'
import { BlockList, isIPv4, isIPv6 } from 'node:net'
import { NotAllowedError } from '../shared/errors.ts'
import { isLocalRoot } from './caller.ts'
import { isHealthRequest } from './health-request.ts'

/** Characters of a foreign host or origin that an error quotes. */
const MAX_QUOTED = 100

/**
 * Protects an agent without access control from web pages: any page in a browser on this machine can send requests to a
 * loopback port. Except on health routes, it rejects requests that name another host (DNS rebinding) or that a page of
 * another origin sent. Throws NotAllowedError. Browsers cannot reach the unix socket.
 */
export function loopbackGuard(): RequestHandler {
  return (req, _res, next) => {
    if (!isHealthRequest(req) && !isLocalRoot(req)) {
      assertLoopbackHost(req)
      assertOwnOrigin(req)
    }
    next()
  }
}

function assertLoopbackHost(req: Request): void {
  const named = [req.headers.host ?? '', targetAuthority(req.originalUrl)]
  const foreign = named.find((authority) => authority !== undefined && !isLoopbackAuthority(authority))
  if (foreign === undefined) return
  const reason = foreign === '' ? 'the request names no host' : `the request is for the host "${quoted(foreign)}"`
  throw new NotAllowedError(`Cannot answer: ${reason}, and without access control only this machine is served`, {
    code: 'ForeignHost',
    hint: 'Use http://localhost:PORT or http://127.0.0.1:PORT, or turn on access control with server.auth.mode.',
  })
}

function assertOwnOrigin(req: Request): void {
  const { origin: origins = [], 'sec-fetch-site': sites = [] } = req.headersDistinct
  const own = `${req.protocol}://${targetAuthority(req.originalUrl) ?? req.headers.host ?? ''}`
  const foreign = origins.find((origin) => !isSameOrigin(origin, own))
  const isCausedElsewhere = sites.some((site) => site !== 'none' && site !== 'same-origin')
  if (foreign === undefined && !isCausedElsewhere) return
  const source = foreign === undefined ? 'another site' : `the origin "${quoted(foreign)}"`
  throw new NotAllowedError(`Cannot answer: the request comes from a web page of ${source}`, {
    code: 'ForeignOrigin',
    hint: 'Without access control no web page may use the agent: use curl, or turn on access control with server.auth.mode.',
  })
}

/**
 * Returns the host and port of an absolute request target (`GET http://host/path`), which takes precedence over the
 * Host header.
 */
function targetAuthority(target: string): string | undefined {
  return /^[a-z][a-z0-9+.-]*:\/\/([^/?#]*)/i.exec(target)?.[1]
}

const loopbackV6 = new BlockList()
loopbackV6.addAddress('::1', 'ipv6')

/**
 * Accepts `localhost`, addresses of 127.0.0.0/8 in dotted decimal and `[::1]` in any spelling, each with or without a
 * port. Rejects other names even if they usually resolve to this machine, because a foreign DNS server may control
 * them.
 */
function isLoopbackAuthority(authority: string): boolean {
  const { host, v6 } = /^(?:(?<host>[a-z0-9.]+)|\[(?<v6>[0-9a-f:.]+)\])(?::\d{1,5})?$/i.exec(authority)?.groups ?? {}
  if (v6 !== undefined) return isIPv6(v6) && loopbackV6.check(v6, 'ipv6')
  return host !== undefined && (host.toLowerCase() === 'localhost' || (isIPv4(host) && host.startsWith('127.')))
}

/** Compares origins; the default port may be explicit in one and omitted in the other. */
function isSameOrigin(origin: string, own: string): boolean {
  const parsed = URL.parse(origin)
  return parsed !== null && parsed.origin === origin.toLowerCase() && parsed.origin === URL.parse(own)?.origin
}

function quoted(text: string): string {
  return text.length <= MAX_QUOTED ? text : `${text.slice(0, MAX_QUOTED)}…`
}
