import type { RequestHandler, Response } from 'express'
import type { IncomingMessage } from 'node:http'
import { AgentError } from '../shared/errors.ts'
import type { Logger } from '../shared/logger.ts'
import { readableText } from '../shared/readable-text.ts'
import { actorOf, callerOf, presenceOf } from './caller.ts'
import type { KubeletGuard } from './kubelet-access.ts'
import { readKubeletTarget, trimOf } from './kubelet-target.ts'
import { readKubeletTimeout } from './kubelet-timeout.ts'
import type { Rates } from './rates.ts'
import type { KubeletServices } from './capture-services.ts'

/** A response that matches the kubelet's byte for byte. */
interface KubeletAnswer {
  readonly status: number
  readonly body: string
  readonly headers?: Readonly<Record<string, string>>
}

/**
 * Serves the kubelet's `POST /checkpoint/{namespace}/{pod}/{container}`, with the kubelet's responses to all other
 * requests under that path. It runs before Express' router, which would decode and normalize paths that the kubelet
 * redirects or answers. It parses `Accept` and the query itself for the same reason.
 */
export function kubeletRoutes(
  kubelet: KubeletServices,
  { logger, guard, rates }: { readonly logger: Logger; readonly guard: KubeletGuard; readonly rates: Rates },
): RequestHandler {
  return async (req, res, next) => {
    const target = readKubeletTarget(req.url, { isServed: kubelet.enabled })
    if (target.kind === 'elsewhere') {
      next()
      return
    }
    // Discards the body: left unread during a capture of up to an hour, it would end the connection.
    req.resume()

    if (target.kind === 'malformed') {
      send(res, { status: 400, body: '400 Bad Request', headers: { connection: 'close' } })
    } else if (target.kind === 'redirect') {
      sendRedirect(res, target.location)
    } else if (!kubelet.enabled) {
      const headers = { 'x-content-type-options': 'nosniff' }
      send(res, { status: 404, body: '404 page not found\n', headers })
    } else {
      const { segments, query } = target
      const signal = presenceOf(res)
      const [namespace] = segments.length === 3 ? readableNames(segments) : []
      // The kubelet authenticates and authorizes after redirects and before everything else.
      const refusal = (await guard(req, namespace)) ?? routeError(req, segments)
      const answer = refusal ?? (await checkpoint(req, res, { segments, query, signal }))
      if (!res.destroyed) send(res, answer)
    }
  }

  async function checkpoint(
    req: IncomingMessage,
    res: Response,
    {
      segments,
      query,
      signal,
    }: { readonly segments: readonly string[]; readonly query: string; readonly signal: AbortSignal },
  ): Promise<KubeletAnswer> {
    const [namespace = '', pod = '', container = ''] = readableNames(segments)
    const failed = (reason: string) => {
      return { status: 500, body: `checkpointing of ${namespace}/${pod}/${container} failed (${reason})` }
    }

    // Reports a runtime failure last: the kubelet finds pods in its own memory and queries the runtime later.
    const found = await kubelet
      .lookUp(namespace, pod, container)
      .catch((error: unknown) => ({ error: failureText(error) }))
    if (found === 'pod') return { status: 404, body: 'pod does not exist' }
    if (found === 'container') return { status: 404, body: `container ${container} does not exist` }
    const timeout = readKubeletTimeout(query, kubelet.minimumWaitSeconds)
    if (timeout === undefined) return { status: 404, body: 'cannot parse value of timeout parameter' }
    if ('error' in found) return failed(found.error)

    if (signal.aborted) return failed('context canceled')
    try {
      rates.count(req, res, 'capture')
      const outcome = await found.checkpoint({
        timeoutMs: timeout.timeoutMs,
        requestedBy: callerOf(req),
        actor: actorOf(req, res),
        signal,
      })
      if ('error' in outcome) return failed(outcome.error)
      // The kubelet does not escape the path in this JSON either.
      const headers = { 'content-type': 'application/json' }
      return { status: 200, body: `{"items":["${outcome.path}"]}`, headers }
    } catch (error) {
      return failed(failureText(error))
    }
  }

  function failureText(error: unknown): string {
    if (error instanceof AgentError) return error.runtimeMessage ?? error.message
    logger.error({ err: error }, 'Request to the kubelet endpoint failed')
    return 'internal error'
  }
}

function readableNames(segments: readonly string[]): string[] {
  return segments.map((segment) => readableText(Buffer.from(segment, 'latin1')))
}

/** Returns the errors of the kubelet's router, in its order: path, method, media type. */
function routeError(req: IncomingMessage, segments: readonly string[]): KubeletAnswer | undefined {
  if (segments.length !== 3) return { status: 404, body: '404: Page Not Found' }
  if (req.method !== 'POST') return { status: 405, body: '405: Method Not Allowed', headers: { allow: 'POST' } }
  if (!acceptsJson(req)) {
    return { status: 406, body: '406: Not Acceptable\n\nAvailable representations: application/json' }
  }
  return undefined
}

/**
 * Evaluates `Accept` as the kubelet does: only the first header counts, `application/*` does not match, and quality
 * values are ignored.
 */
function acceptsJson(req: IncomingMessage): boolean {
  const name = req.rawHeaders.findIndex((header, at) => at % 2 === 0 && header.toLowerCase() === 'accept')
  const accept = name === -1 ? '' : (req.rawHeaders[name + 1] ?? '')
  if (accept === '') return true
  return accept.split(',').some((range) => {
    const type = trimOf(range.split(';', 1)[0] ?? '', ' ')
    return type === '*/*' || type === 'application/json'
  })
}

function send(res: Response, { status, body, headers = {} }: KubeletAnswer): void {
  const bytes = Buffer.from(body)
  res.writeHead(status, {
    'content-type': 'text/plain; charset=utf-8',
    'content-length': bytes.length,
    ...headers,
  })
  res.end(bytes)
}

/** Redirects like Go's http.Redirect: a small page for GET, only its type for HEAD, nothing for other methods. */
function sendRedirect(res: Response, location: string): void {
  const { method } = res.req
  if (method === 'HEAD') {
    res.writeHead(307, { location, 'content-type': 'text/html; charset=utf-8' }).end()
    return
  }
  if (method !== 'GET') {
    res.writeHead(307, { location, 'content-length': 0 }).end()
    return
  }
  const page = Buffer.from(`<a href="${escapeHtml(location)}">Temporary Redirect</a>.\n\n`)
  res.writeHead(307, { location, 'content-type': 'text/html; charset=utf-8', 'content-length': page.length })
  res.end(page)
}

function escapeHtml(text: string): string {
  const entities: Readonly<Record<string, string>> = {
    '&': '&amp;',
    '<': '&lt;',
    '>': '&gt;',
    '"': '&#34;',
    "'": '&#39;',
  }
  return text.replace(/[&<>"']/g, (character) => entities[character] ?? character)
}
