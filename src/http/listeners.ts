import type { RequestListener, Server, ServerOptions } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import type { TrustedAuthorities } from '../access/client-authorities.ts'
import { InvalidInputError, isSystemError, UnavailableError } from '../shared/errors.ts'
import type { Logger } from '../shared/logger.ts'
import { systemErrorReason } from '../shared/system-error.ts'
import { markAsLocalRoot } from './caller.ts'
import { answerClientErrors } from './client-error.ts'
import { clientVerification, noteClientCertificates } from './client-certificates.ts'
import { limitConnections } from './connection-limit.ts'
import { createServer as createPlainServer } from './node-http.ts'
import type { ServingCertificate } from './serving-certificate.ts'
import { listenOnUnixSocket } from './unix-socket.ts'

export interface ListenOptions {
  /** Address as `host:port`, `[::]:port` for all IPv4 and IPv6 addresses, or "" for no TCP listener. */
  readonly address: string
  /** Path of the unix socket, or "" for none. */
  readonly socket: string
  /** Serving certificate; without one, the listener uses plain HTTP. */
  readonly certificate?: ServingCertificate
  /**
   * CAs for client certificates. A certificate is optional, and a request with an invalid one still gets a response.
   */
  readonly clientAuthorities?: TrustedAuthorities
  /** Connections that the TCP listener holds; unlimited if absent. */
  readonly maxConnections?: number
  readonly logger: Logger
  /** Replaces the default timeouts in tests. */
  readonly limits?: ServerOptions & { readonly handshakeTimeout?: number }
}

export interface Listeners {
  /** Actual address of the TCP listener, for example after port 0. */
  readonly tcp: AddressInfo | undefined
  /** Stops accepting connections, waits for running requests, then closes the remaining connections after this time. */
  readonly close: (drainMs: number) => Promise<void>
}

/**
 * Limits of the servers. None of them ends a request that waits an hour for its capture: `requestTimeout` covers only
 * reading a request, and `timeout` is not set. TCP keep-alive detects dead peers.
 */
const LIMITS: ServerOptions = {
  // The time for reading the headers, and the interval between checks of it.
  headersTimeout: 20_000,
  connectionsCheckingInterval: 5_000,
  requestTimeout: 60_000,
  keepAliveTimeout: 90_000,
  maxHeaderSize: 64 * 1024,
  keepAlive: true,
  // The app reports a missing host in its own error format.
  requireHostHeader: false,
  keepAliveInitialDelay: 60_000,
}

const HANDSHAKE_TIMEOUT_MS = 20_000

/** Interval at which a closing listener closes idle connections. */
const DRAIN_STEP_MS = 50

/** Opens all listeners or none. Throws InvalidInputError, ConflictError or UnavailableError. */
export async function openListeners(app: RequestListener, options: ListenOptions): Promise<Listeners> {
  const { address, socket, logger } = options
  const servers: Server[] = []
  let tcp: AddressInfo | undefined
  try {
    if (address !== '') {
      const server = tcpServer(app, options)
      if (options.maxConnections !== undefined) limitConnections(server, options.maxConnections)
      await listenOnTcp(server, address)
      servers.push(server)
      tcp = server.address() as AddressInfo
      logger.info({ address: tcp.address, port: tcp.port, tls: options.certificate !== undefined }, 'Listening')
    }
    if (socket !== '') {
      const server = createPlainServer({ ...LIMITS, ...options.limits }, app)
      server.on('connection', markAsLocalRoot)
      await listenOnUnixSocket(server, socket)
      servers.push(server)
      logger.info({ socket }, 'Listening')
    }
  } catch (error) {
    await Promise.all(servers.map((server) => closeServer(server, 0)))
    throw error
  }
  for (const server of servers) {
    answerClientErrors(server)
    server.on('error', (error) => logger.error({ err: error }, 'Listener failed'))
  }
  return {
    tcp,
    close: async (drainMs) => {
      await Promise.all(servers.map((server) => closeServer(server, drainMs)))
    },
  }
}

function tcpServer(app: RequestListener, options: ListenOptions): Server {
  const { certificate, clientAuthorities, logger, limits } = options
  if (certificate === undefined) return createPlainServer({ ...LIMITS, ...limits }, app)
  const secure = () => {
    const { key, certificate: cert } = certificate.current()
    return {
      key,
      cert,
      minVersion: 'TLSv1.2',
      ...(clientAuthorities && clientVerification(clientAuthorities)),
    } as const
  }
  const server = createTlsServer(
    {
      ...LIMITS,
      handshakeTimeout: HANDSHAKE_TIMEOUT_MS,
      ...limits,
      ...secure(),
      requestCert: clientAuthorities !== undefined,
      // The verification result is recorded, and the request still gets a response because it may carry a token.
      rejectUnauthorized: false,
    },
    app,
  )
  certificate.onChange(() => server.setSecureContext(secure()))
  if (clientAuthorities !== undefined) {
    clientAuthorities.onChange(() => server.setSecureContext(secure()))
    noteClientCertificates(server, clientAuthorities)
  }
  server.on('tlsClientError', (error, socket) => {
    logger.debug({ err: error }, 'TLS handshake failed')
    // A response from `answerClientErrors` would wait for the end of the handshake, which never comes.
    socket.destroy()
  })
  return server
}

async function listenOnTcp(server: Server, address: string): Promise<void> {
  const { host, port } = parseAddress(address)
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      server.listen({ port, ...(host !== undefined && { host }) }, () => {
        server.off('error', reject)
        resolve()
      })
    })
  } catch (error) {
    const reason = isSystemError(error, 'EADDRINUSE') ? 'another process listens there' : systemErrorReason(error)
    throw new UnavailableError(`Cannot listen on "${address}": ${reason}`, {
      code: 'AddressUnavailable',
      hint: 'Set server.address to an address of this machine and a port that is free.',
      cause: error,
    })
  }
}

/**
 * Parses an address. Without a host, Node.js listens on `::` for both IP families, or on `0.0.0.0` if the machine has
 * no IPv6.
 */
function parseAddress(address: string): { readonly host: string | undefined; readonly port: number } {
  const [, bracketed, plain, digits] = /^(?:\[([^\]]*)\]|([^:]*)):(\d{1,5})$/.exec(address) ?? []
  const port = Number(digits)
  if (digits === undefined || port > 65_535) {
    throw new InvalidInputError(`Cannot listen on "${address}": it must be "host:port" or "[IPv6 address]:port"`, {
      code: 'InvalidAddress',
      hint: 'Set server.address, for example to 127.0.0.1:9443.',
    })
  }
  const host = bracketed ?? plain ?? ''
  return { host: host === '' || host === '::' ? undefined : host, port }
}

async function closeServer(server: Server, drainMs: number): Promise<void> {
  const closed = new Promise<true>((resolve) => {
    server.close(() => resolve(true))
  })
  const deadline = performance.now() + drainMs
  while (performance.now() < deadline) {
    if (await Promise.race([closed, delay(DRAIN_STEP_MS, false)])) return
    server.closeIdleConnections()
  }
  server.closeAllConnections()
  await closed
}
