import type { NodeEvent } from '../checkpoint/node-event.ts'
import { Router, type Response } from 'express'
import { UnavailableError } from '../shared/errors.ts'
import type { Clock } from '../shared/clock.ts'
import { escapeUnreadable } from '../shared/readable-text.ts'
import { namespaceQuery } from './checkpoint-api-types.ts'
import { visibleRows, whileAllowed } from './authorize.ts'
import { callerOf } from './caller.ts'
import { toJobResponse } from './capture-response.ts'
import { toCheckpointResponse } from './checkpoint-response.ts'
import { readQuery } from './request-input.ts'
import type { CheckpointServices } from './checkpoint-services.ts'
import type { VisibleRows } from './visible-rows.ts'

export interface WatchOptions {
  readonly nodeName: string
  readonly clock: Clock
  /** Ends every stream, and with them what the listeners wait for. */
  readonly ending?: AbortSignal
}

/** Shows proxies and readers that the stream lives, and us whether the reader does. */
const HEARTBEAT_MS = 15_000

/** What waits for one reader, beyond what the kernel holds: more than the events that one who was away catches up on. */
const MAX_WAITING_BYTES = 2 * 1024 * 1024

/** Each costs a connection and up to the bytes above, and is written to for every event. */
const MAX_READERS = 100

/** Of one user, so that others find room. */
const MAX_READERS_OF_ONE = 25

/** What happens to checkpoints and captures, as server-sent events. */
export function watchRoutes(
  checkpoints: Pick<CheckpointServices, 'watch' | 'namespaces'>,
  options: WatchOptions,
): Router {
  const { nodeName, clock, ending } = options
  const router = Router({ caseSensitive: true, strict: true })
  const open = new Map<Response, string>()
  ending?.addEventListener('abort', () => {
    for (const res of open.keys()) res.end()
  })

  router.route('/v1/watch').get(async (req, res) => {
    readQuery(req, namespaceQuery)
    const rows = visibleRows(req)
    const { until } = await rows.among(() => checkpoints.namespaces())
    if (res.destroyed) return
    if (ending?.aborted === true) {
      throw new UnavailableError('Cannot watch: the agent is being stopped', { code: 'ShuttingDown' })
    }
    if (open.size >= MAX_READERS) {
      throw new UnavailableError(`Cannot watch: ${MAX_READERS} others do so already`, {
        code: 'TooManyWatchers',
        hint: 'Close streams that nobody reads, or ask GET /v1/checkpoints now and then.',
      })
    }
    const user = callerOf(req)
    const own = [...open.values()].filter((other) => other === user).length
    if (own >= MAX_READERS_OF_ONE && !rows.isOfUnlimited) {
      throw new UnavailableError(`Cannot watch: "${escapeUnreadable(user)}" does so ${own} times already`, {
        code: 'TooManyWatchers',
        hint: 'Close streams that nobody reads, or ask GET /v1/checkpoints now and then.',
      })
    }
    res.set({
      'Content-Type': 'text/event-stream',
      'Cache-Control': 'no-store, no-transform',
      'X-Accel-Buffering': 'no',
    })
    if (req.method === 'HEAD') {
      res.end()
      return
    }
    const { send, stop } = eventStream(res, nodeName)
    res.once('close', () => {
      open.delete(res)
      stop()
    })
    const lastEventId = req.get('last-event-id')
    // It may throw: the headers go out only after it, and a caller that left is noticed in a later turn.
    const receive = rows.isUnlimited ? send : visibleEvents(rows, { send, end: () => res.end() })
    const unsubscribe = checkpoints.watch(lastEventId === '' ? undefined : lastEventId, receive)
    res.once('close', unsubscribe)
    open.set(res, user)
    whileAllowed(req, res, { end: () => res.end(), clock, until })
    res.flushHeaders()
  })

  return router
}

/**
 * Nothing here waits for the reader. One that falls behind loses events, and is told so by a `resync` once it has
 * caught up. One that takes nothing at all between two heartbeats is cut off.
 */
function eventStream(res: Response, nodeName: string) {
  let isBehind = false
  let lostId: string | undefined
  let isHeartbeatWaiting = false

  const send = (event: NodeEvent) => {
    if (res.destroyed || res.writableEnded) return
    if (isBehind) {
      lostId = event.id
      return
    }
    res.write(formatEvent(event, nodeName))
    isBehind = res.writableLength > MAX_WAITING_BYTES
  }
  res.on('drain', () => {
    isBehind = false
    if (lostId === undefined) return
    const id = lostId
    lostId = undefined
    send({ id, type: 'resync' })
  })

  const timer = setInterval(() => {
    if (res.writableEnded) return
    if (isHeartbeatWaiting) {
      res.destroy()
      return
    }
    isHeartbeatWaiting = true
    // It waits behind all that was written before.
    res.write(':\n\n', () => {
      isHeartbeatWaiting = false
    })
  }, HEARTBEAT_MS)
  return { send, stop: () => clearInterval(timer) }
}

/** A reader whose events nobody can be asked about so fast reads the list again. */
const MAX_UNDECIDED = 2000

/** Sends on, in their order, the events that the caller may see. Where that cannot be found out, the stream ends. */
function visibleEvents(
  rows: VisibleRows,
  { send, end }: { readonly send: (event: NodeEvent) => void; readonly end: () => void },
): (event: NodeEvent) => void {
  let undecided = 0
  let before = Promise.resolve()
  const decide = async (event: NodeEvent) => {
    if (event.type === 'resync' || (await rows.seesNow(namespaceOf(event)))) send(event)
  }
  return (event) => {
    if (undecided >= MAX_UNDECIDED) {
      end()
      return
    }
    undecided++
    before = before
      .then(() => decide(event))
      .catch(end)
      .finally(() => undecided--)
  }
}

/** The one that it belongs to; undefined for what only the whole node's viewers may see. */
function namespaceOf({ checkpoint, namespace, job }: NodeEvent): string | undefined {
  if (job !== undefined) return job.captures[0]?.identity.namespace
  if (checkpoint === undefined) return namespace
  return checkpoint.identity.isTrusted ? checkpoint.identity.namespace : undefined
}

function formatEvent(event: NodeEvent, nodeName: string): string {
  return `id: ${event.id}\nevent: ${event.type}\ndata: ${JSON.stringify(dataOf(event, nodeName))}\n\n`
}

function dataOf({ checkpoint, checkpointId, job }: NodeEvent, nodeName: string): object {
  if (job !== undefined) return toJobResponse(job)
  if (checkpoint !== undefined) return toCheckpointResponse(checkpoint, nodeName)
  return checkpointId === undefined ? {} : { id: checkpointId, state: 'gone' }
}
