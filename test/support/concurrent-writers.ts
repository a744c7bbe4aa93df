import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import type { RandomWritersOptions } from './random-writers.ts'

/** Random writers beside the one who looks: their deeds fall between the steps of a look, as on a node. */
export interface ConcurrentWriters {
  act(times: number): Promise<void>
  /** How often each deed was done. */
  readonly counts: ReadonlyMap<string, number>
  stop(): Promise<void>
}

export function startWriters(options: RandomWritersOptions): ConcurrentWriters {
  const thread = new Worker(new URL('random-writers-thread.ts', import.meta.url), { workerData: options, execArgv: [] })
  let counts: ReadonlyMap<string, number> = new Map()
  return {
    get counts() {
      return counts
    },
    async act(times) {
      thread.postMessage(times)
      ;[counts] = (await once(thread, 'message')) as [ReadonlyMap<string, number>]
    },
    async stop() {
      await thread.terminate()
    },
  }
}
