import type { z } from 'zod'
import type { CaptureJobResponse } from './capture-schemas.ts'
import type { CheckpointResponse } from './checkpoint-schemas.ts'
import { ApiError, parseJson, UnexpectedAnswerError } from './api-error.ts'
import { readChunks, readLines } from './byte-lines.ts'
import { readEvents, type ServerSentEvent } from './event-stream.ts'
import { watchEventData } from './watch-schemas.ts'

/** An event of `GET /v1/watch`. Give `eventId` back as `lastEventId` to continue after it. */
export type WatchEvent =
  | { readonly type: 'added' | 'changed'; readonly eventId: string; readonly checkpoint: CheckpointResponse }
  | { readonly type: 'removed'; readonly eventId: string; readonly checkpointId: string }
  | { readonly type: 'capture'; readonly eventId: string; readonly job: CaptureJobResponse }
  /** Events were lost: read the list again. */
  | { readonly type: 'resync'; readonly eventId?: string }

export interface WatchOptions {
  /** Events after this one come first. */
  readonly lastEventId?: string
  readonly signal?: AbortSignal
  /** Connects again when the stream ends. The default is true. */
  readonly reconnect?: boolean
  /**
   * The wait before the first attempt to connect again, less up to a half, so that clients do not come back together. It
   * doubles up to 30 s. The default is 1 s.
   */
  readonly reconnectAfterMs?: number
  /** The silence after which the stream counts as dead. The server sends something every 15 s. */
  readonly silenceMs?: number
}

const RECONNECT_AFTER_MS = 1_000
const MAX_RECONNECT_AFTER_MS = 30_000
/** Three heartbeats of the server. */
const SILENCE_MS = 45_000
/** Statuses that pass: a limit is reached, or the agent or a proxy before it is not there yet. */
const TRANSIENT: ReadonlySet<number> = new Set([429, 502, 503, 504])

/**
 * Yields events, and connects again after the last one when the stream ends. Throws when the first attempt to connect
 * fails, when the server refuses the caller, and the reason of the signal when that aborts.
 */
export async function* watchEvents(
  open: (lastEventId: string | undefined, signal: AbortSignal) => Promise<Response>,
  options: WatchOptions = {},
): AsyncGenerator<WatchEvent, void> {
  const { signal, reconnect = true, reconnectAfterMs = RECONNECT_AFTER_MS, silenceMs = SILENCE_MS } = options
  let { lastEventId } = options
  let hasConnected = false
  let delayMs = reconnectAfterMs
  for (;;) {
    const connection = new AbortController()
    let atLeastMs = 0
    try {
      const signals = signal === undefined ? [connection.signal] : [connection.signal, signal]
      const response = await open(lastEventId, AbortSignal.any(signals))
      // Nothing says what happened since the stream ended that had no event yet.
      if (hasConnected && lastEventId === undefined) yield { type: 'resync' }
      hasConnected = true
      delayMs = reconnectAfterMs
      for await (const event of readWatchEvents(response, connection, silenceMs)) {
        lastEventId = event.eventId ?? lastEventId
        yield event
      }
      if (!reconnect) return
    } catch (error) {
      signal?.throwIfAborted()
      if (!hasConnected || !reconnect || !isTransient(error)) throw error
      atLeastMs = error instanceof ApiError ? (error.retryAfterSeconds ?? 0) * 1000 : 0
    } finally {
      connection.abort()
    }
    await delay(Math.max(delayMs * (1 - Math.random() / 2), atLeastMs), signal)
    delayMs = Math.min(delayMs * 2, MAX_RECONNECT_AFTER_MS)
  }
}

async function* readWatchEvents(
  response: Response,
  connection: AbortController,
  silenceMs: number,
): AsyncGenerator<WatchEvent> {
  const chunks = watchSilence(readChunks(response.body), connection, silenceMs)
  for await (const event of readEvents(readLines(chunks))) {
    const parsed = toWatchEvent(event, response)
    if (parsed !== undefined) yield parsed
  }
}

/** Aborts the connection when no chunk comes for that long. Time that the consumer takes does not count. */
async function* watchSilence(
  chunks: AsyncGenerator<Uint8Array>,
  connection: AbortController,
  silenceMs: number,
): AsyncGenerator<Uint8Array> {
  const start = () =>
    setTimeout(() => {
      connection.abort(new Error(`Cannot go on watching: nothing came for ${silenceMs} ms`))
    }, silenceMs)
  let timer = start()
  try {
    for await (const chunk of chunks) {
      clearTimeout(timer)
      yield chunk
      timer = start()
    }
  } finally {
    clearTimeout(timer)
  }
}

/** Undefined for a type of event that a later version of the agent has added. */
function toWatchEvent({ id, type, data }: ServerSentEvent, response: Response): WatchEvent | undefined {
  const body = parseJson(data)
  const read = <Schema extends z.ZodType>(schema: Schema): z.output<Schema> => {
    if (id !== undefined && schema.safeParse(body).success) return body as z.output<Schema>
    throw new UnexpectedAnswerError(`Cannot read an event of type "${type}": it is not what the API promises`, response)
  }
  const eventId = id ?? ''
  switch (type) {
    case 'added':
    case 'changed': {
      return { type, eventId, checkpoint: read(watchEventData[type]) }
    }
    case 'removed': {
      return { type, eventId, checkpointId: read(watchEventData.removed).id }
    }
    case 'capture': {
      return { type, eventId, job: read(watchEventData.capture) }
    }
    case 'resync': {
      read(watchEventData.resync)
      return { type, eventId }
    }
    default: {
      return undefined
    }
  }
}

function isTransient(error: unknown): boolean {
  if (error instanceof ApiError) return TRANSIENT.has(error.status)
  // The server sends more than any event needs.
  return !(error instanceof RangeError)
}

async function delay(ms: number, signal: AbortSignal | undefined): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    signal?.throwIfAborted()
    const onAbort = () => {
      clearTimeout(timer)
      reject(signal?.reason as Error)
    }
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', onAbort)
      resolve()
    }, ms)
    signal?.addEventListener('abort', onAbort, { once: true })
  })
}
