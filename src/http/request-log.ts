import { randomUUID } from 'node:crypto'
import type { RequestHandler } from 'express'
import type { Logger } from '../shared/logger.ts'
import { callerOf } from './caller.ts'

const REQUEST_ID = /^[A-Za-z0-9._-]{1,64}$/

/** Characters of a URL in the log, since clients can send up to 64 KiB. */
const MAX_URL = 1024

/** Routes that the kubelet and Prometheus request every few seconds. */
const FREQUENT = /^\/(healthz|readyz|metrics)(\?|$)/

/** Logs every request and sets `X-Request-Id`: the client's own id if it is well-formed, else a new one. */
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
      // The caller is known by now, if authentication succeeded.
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
