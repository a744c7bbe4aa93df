import type { ServerResponse } from 'node:http'
import type { ByteSink } from '../streams/byte-sink.ts'
import { CallerLeftError } from '../shared/errors.ts'
import { PendingWrites } from '../shared/pending-writes.ts'

/** Time without progress after which a client counts as gone and stops occupying memory and a download slot. */
const STALLED_MS = 5 * 60_000

/**
 * Returns a sink for the response body. Closing it before `end` cuts the connection, so that the client detects the
 * truncation.
 */
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

/** Reports a failed write as CallerLeftError, because it means that the client has disconnected. */
function asLeaving(done: (error?: Error) => void): (error?: Error | null) => void {
  return (error) => done(error === undefined || error === null ? undefined : new CallerLeftError(error))
}
