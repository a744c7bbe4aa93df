import type { RequestHandler } from 'express'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { isLocalRoot, userOf } from './caller.ts'
import { isHealthRequest } from './health-request.ts'

interface Waiting {
  readonly response: ServerResponse
  readonly start: () => void
}

/** The shared place in the rotation for all unauthenticated connections. */
const STRANGERS = Symbol('strangers')
const LOCAL_ROOT = Symbol('local root')

type Lane = string | symbol

/**
 * Starts at most one request in each turn of the event loop, rotating among users. A request such as a list of a
 * thousand jobs can block the thread for tens of milliseconds. Without turns, a burst from one user would delay even
 * the reading of health checks. Health requests never wait here.
 */
export function requestTurns(): RequestHandler {
  const lanes = new Map<Lane, Waiting[]>()
  let isTaken = false

  const startNext = () => {
    for (const [lane, waiting] of lanes) {
      lanes.delete(lane)
      const next = firstPresent(waiting)
      // Moves the lane behind the others.
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

/** Removes and returns the first request whose client is still connected, dropping those before it. */
function firstPresent(waiting: Waiting[]): Waiting | undefined {
  let next = waiting.shift()
  while (next?.response.closed === true) next = waiting.shift()
  return next
}

function laneOf(req: IncomingMessage): Lane {
  return isLocalRoot(req) ? LOCAL_ROOT : (userOf(req.socket) ?? STRANGERS)
}
