import type { RequestHandler } from 'express'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { isLocalRoot, userOf } from './caller.ts'
import { isHealthRequest } from './health-request.ts'

interface Waiting {
  readonly response: ServerResponse
  readonly start: () => void
}

/** Connections over which nobody has shown who they are yet share one place in the rotation. */
const STRANGERS = Symbol('strangers')
const LOCAL_ROOT = Symbol('local root')

type Lane = string | symbol

/**
 * Starts at most one request in each turn of the event loop, users in rotation. A request can take tens of
 * milliseconds of the thread, such as a list of a thousand jobs; a user who sends many at once would otherwise have all
 * of them answered before the next health check is even read. Health does not wait here.
 */
export function requestTurns(): RequestHandler {
  const lanes = new Map<Lane, Waiting[]>()
  let isTaken = false

  const startNext = () => {
    for (const [lane, waiting] of lanes) {
      lanes.delete(lane)
      const next = firstPresent(waiting)
      // The lane goes behind the others.
      if (waiting.length > 0) lanes.set(lane, waiting)
      if (next === undefined) continue
      setImmediate(startNext)
      next.start()
      return
    }
    isTaken = false
  }

  return (req, response, next) => {
    if (isHealthRequest(req)) {
      next()
      return
    }
    if (isTaken) {
      const lane = laneOf(req)
      const waiting = lanes.get(lane) ?? []
      waiting.push({ response, start: next })
      lanes.set(lane, waiting)
      return
    }
    isTaken = true
    setImmediate(startNext)
    next()
  }
}

/** Takes it out, and before it those whose caller has left. */
function firstPresent(waiting: Waiting[]): Waiting | undefined {
  let next = waiting.shift()
  while (next?.response.closed === true) next = waiting.shift()
  return next
}

function laneOf(req: IncomingMessage): Lane {
  return isLocalRoot(req) ? LOCAL_ROOT : (userOf(req.socket) ?? STRANGERS)
}
