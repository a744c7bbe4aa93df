import type { ByteSource } from '../../streams/byte-source.ts'

/** How long the reader works before it lets the event loop have a turn, in which the end of its agent is noticed. */
const TURN_MS = 20

/** Archives mostly are read in less than a millisecond: the clock is looked at now and then. */
const READS_BETWEEN_LOOKS = 16

/** The same file, which waits for a turn of the event loop now and then. */
export function pacedSource(source: ByteSource): ByteSource {
  let reads = 0
  let turnMs = performance.now()
  return {
    ...source,
    read: (into, at, length, position) => {
      reads += 1
      if (reads % READS_BETWEEN_LOOKS !== 0 || performance.now() - turnMs < TURN_MS) {
        return source.read(into, at, length, position)
      }
      return nextTurn().then(() => {
        turnMs = performance.now()
        return source.read(into, at, length, position)
      })
    },
  }
}

/** Resolves once the event loop has had its turn. */
export function nextTurn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve)
  })
}
