import { isIPv4, isIPv6 } from 'node:net'
import { z } from 'zod'
import { pathProblem, tidyPath } from './setting-types.ts'

// Longest socket path: sockaddr_un of Linux has 108 bytes, including the terminating zero.
const SOCKET_PATH_BYTES = 107

export interface ListenAddress {
  /** Host without brackets. */
  readonly host: string
  readonly port: number
}

/** Splits `host:port` and `[host]:port`; undefined if the text is neither. */
export function parseListenAddress(text: string): ListenAddress | undefined {
  const match = /^(?:\[([^[\]]*)\]|([^:[\]]*)):(\d{1,5})$/.exec(text)
  const [, bracketed, plain, digits] = match ?? []
  const port = Number(digits)
  if (digits === undefined || port > 65_535) return undefined
  if (bracketed !== undefined) return isIPv6(bracketed) ? { host: bracketed, port } : undefined
  const host = plain ?? ''
  // Text of digits and dots must be a valid IPv4 address: 127.0.0.300 must not become a DNS query.
  if (/^[\d.]*$/.test(host)) return isIPv4(host) ? { host, port } : undefined
  return /^[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$/.test(host) ? { host, port } : undefined
}

/** Checks whether only this machine can reach the address. */
export function isLoopback({ host }: ListenAddress): boolean {
  return host === 'localhost' || host === '::1' || (isIPv4(host) && host.startsWith('127.'))
}

export function listenAddress() {
  return z.string().refine((text) => text === '' || parseListenAddress(text) !== undefined, {
    error: 'it must be host:port, an IPv6 address in brackets, such as 127.0.0.1:9443 or [::1]:9443',
  })
}

export function socketPath() {
  return z.string().transform((text, context) => {
    const reason = text === '' ? undefined : socketPathProblem(text)
    if (reason === undefined) return text === '' ? '' : tidyPath(text)
    context.addIssue(reason)
    return z.NEVER
  })
}

/** Parses a socket path. Accepts `unix:///run/…` as well, the form of the kubelet and crictl. */
export function runtimeSocket() {
  return z
    .string()
    .transform((text) => text.replace(/^unix:\/\//, ''))
    .pipe(socketPath())
}

/** Parses audiences of tokens, separated by commas or spaces. */
export function audienceList() {
  return z.string().transform((text) => [...new Set(text.split(/[\s,]+/).filter((part) => part !== ''))])
}

/** Parses an API server URL; undefined if the text is empty. */
export function apiServerUrl() {
  return z.string().transform((text, context) => {
    if (text === '') return undefined
    const url = URL.parse(text)
    if (url?.protocol === 'https:' && url.pathname === '/' && url.username + url.search + url.hash === '')
      return url.origin
    context.addIssue('it must be https://host:port and nothing more')
    return z.NEVER
  })
}

function socketPathProblem(text: string): string | undefined {
  const problem = pathProblem(text)
  if (problem !== undefined) return problem
  if (text.endsWith('/')) return 'it must be the path of a socket, not of a folder'
  const tooLong = Buffer.byteLength(tidyPath(text)) > SOCKET_PATH_BYTES
  return tooLong
    ? `it must not be longer than ${SOCKET_PATH_BYTES} bytes: the system allows no more for a socket`
    : undefined
}
