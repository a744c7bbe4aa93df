import type { ByteSink } from '../../src/streams/byte-sink.ts'

/** Keeps what is written, and takes its time: a buffer that is used too early shows. */
export function collectingSink(): ByteSink & {
  readonly bytes: () => Buffer
  readonly state: () => 'open' | 'ended' | 'closed'
} {
  const taken: Buffer[] = []
  let state: 'open' | 'ended' | 'closed' = 'open'
  return {
    write: (piece) =>
      new Promise((resolve) => {
        const at = taken.push(piece) - 1
        setImmediate(() => {
          taken[at] = Buffer.from(piece)
          resolve()
        })
      }),
    end: () => {
      state = 'ended'
      return Promise.resolve()
    },
    close: () => {
      state = 'closed'
    },
    bytes: () => Buffer.concat(taken),
    state: () => state,
  }
}
