import type { RequestHandler } from 'express'
import { InvalidInputError } from '../shared/errors.ts'

/** HTTP/1.1 demands a host. Node would refuse its absence without a word about it. */
export function requireHost(): RequestHandler {
  return (req, res, next) => {
    if (req.httpVersion === '1.0' || req.headers.host !== undefined) {
      next()
      return
    }
    res.set('Connection', 'close')
    throw new InvalidInputError('Cannot read the request: it has no Host header', { code: 'InvalidRequest' })
  }
}
