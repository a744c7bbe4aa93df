import type { ServerResponse } from 'node:http'
import type { ByteSink } from '../streams/byte-sink.ts'
import { CallerLeftError } from '../shared/errors.ts'
import { PendingWrites } from '../shared/pending-writes.ts'

/** A reader that takes nothing at all for this long is gone, or wants our memory and a place in the queue for nothing. */
const STALLED_MS = 5 * 60_000

/** The body of an answer. Closed without an end, the connection is cut, so that the client sees that something is missing. */
export function responseSink(res: ServerResponse): ByteSink {
  const pending = new PendingWrites()
  res.once('close', () => pending.fail(new CallerLeftError()))
  res.setTimeout(STALLED_MS, () => res.destroy())
  return {
    write: (piece) => pending.add((done) => res.write(piece, asLeaving(done))),
    end: () => pending.add((done) => res.end(asLeaving(done))),
    close: () => {
      res.destroy()
    },
  }
}

/** What cannot be written to a connection has nobody at its other end. */
function asLeaving(done: (error?: Error) => void): (error?: Error | null) => void {
  return (error) => done(error === undefined || error === null ? undefined : new CallerLeftError(error))
}
