import { randomUUID } from 'node:crypto'
import type { RequestHandler } from 'express'
import type { Logger } from '../shared/logger.ts'
import { callerOf } from './caller.ts'

const REQUEST_ID = /^[A-Za-z0-9._-]{1,64}$/

/** The URL is the caller's own, up to 64 KiB of it. */
const MAX_URL = 1024

/** Asked every few seconds by the kubelet and by Prometheus. */
const FREQUENT = /^\/(healthz|readyz|metrics)(\?|$)/

/** Gives every answer an `X-Request-Id`, the caller's own where it is a plain one, and every request a line in the log. */
export function requestLog(logger: Logger): RequestHandler {
  return (req, res, next) => {
    const began = performance.now()
    const given = req.get('x-request-id')
    const requestId = given !== undefined && REQUEST_ID.test(given) ? given : randomUUID()
    res.setHeader('X-Request-Id', requestId)

    const fields = {
      requestId,
      method: req.method,
      url: req.url.slice(0, MAX_URL),
      address: req.socket.remoteAddress,
    }
    res.once('close', () => {
      // Known by now, if at all.
      const caller = callerOf(req)
      const millis = Math.round(performance.now() - began)
      if (!res.writableFinished) {
        logger.info({ ...fields, caller, millis }, 'Caller left before the answer')
        return
      }
      const level = FREQUENT.test(fields.url) && res.statusCode < 400 ? 'debug' : 'info'
      logger[level]({ ...fields, caller, status: res.statusCode, millis }, 'Answered')
    })
    next()
  }
}
