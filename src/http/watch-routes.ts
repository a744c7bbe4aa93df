import type { NodeEvent } from '../checkpoint/node-event.ts'
import { Router, type Response } from 'express'
import { UnavailableError } from '../shared/errors.ts'
import type { Clock } from '../shared/clock.ts'
import { escapeUnreadable } from '../shared/readable-text.ts'
import { namespaceQuery } from '../api/checkpoint-schemas.ts'
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
  /** Ends all streams, so that the listeners can close. */
  readonly ending?: AbortSignal
}

/** Interval of heartbeats, which keep proxies from closing the stream and detect dead clients. */
const HEARTBEAT_MS = 15_000

/**
 * Bytes buffered per client beyond the kernel's buffer; enough for the events that a reconnecting client catches up on.
 */
const MAX_WAITING_BYTES = 2 * 1024 * 1024

/** Streams in total; each costs a connection, its buffer and a write per event. */
const MAX_READERS = 100

/** Streams per user, so that others find room. */
const MAX_READERS_OF_ONE = 25

/** Serves changes of checkpoints and captures as server-sent events. */
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
    // `watch` may throw, so headers follow it; a disconnect is noticed in a later turn.
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
 * Sends events without waiting for the client. A slow client loses events and gets a `resync` once it has caught up. A
 * client that reads nothing between two heartbeats is disconnected.
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
    // The heartbeat queues behind all earlier writes.
    res.write(':\n\n', () => {
      isHeartbeatWaiting = false
    })
  }, HEARTBEAT_MS)
  return { send, stop: () => clearInterval(timer) }
}

/** Events awaiting a permission check per client; beyond that the stream ends and the client lists again. */
const MAX_UNDECIDED = 2000

/** Forwards the events that the caller may see, in order. Ends the stream if a check fails. */
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

/** Returns the namespace of an event; undefined if it requires access to the whole node. */
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
