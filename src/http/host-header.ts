import type { RequestHandler } from 'express'
import { InvalidInputError } from '../shared/errors.ts'

/**
 * Requires exactly one Host header in HTTP/1.1. Node.js by itself rejects a missing one without an explanation, and
 * uses the first of several.
 */
export function requireHost(): RequestHandler {
  return (req, res, next) => {
    const hosts = req.headersDistinct['host']?.length ?? 0
    if (hosts === 1 || (hosts === 0 && req.httpVersion === '1.0')) {
      next()
      return
    }
    res.set('Connection', 'close')
    const reason = hosts === 0 ? 'it has no Host header' : 'it has more than one Host header'
    throw new InvalidInputError(`Cannot read the request: ${reason}`, { code: 'InvalidRequest' })
  }
}
