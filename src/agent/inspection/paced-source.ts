import type { ByteSource } from '../../streams/byte-source.ts'

/** Time that the reader works before it yields to the event loop, which notices the end of the agent. */
const TURN_MS = 20

/** Reads between checks of the clock. Most archives are read in less than a millisecond. */
const READS_BETWEEN_LOOKS = 16

/** Wraps a source so that it yields to the event loop at intervals. */
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

/** Resolves in the next turn of the event loop. */
export function nextTurn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve)
  })
}
