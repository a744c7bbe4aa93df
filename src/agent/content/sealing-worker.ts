import { parentPort } from 'node:worker_threads'
import { sealChunks } from '../../encryption/age-payload.ts'
import type { SealingAnswer, SealingRequest } from './sealing-threads.ts'

// A thread of its own, with next to nothing in its heap: each chunk leaves one buffer behind, and to collect them beside
// everything else that the agent knows takes as long as to encrypt them.

parentPort?.on('message', ({ id, ...order }: SealingRequest) => {
  parentPort?.postMessage({ id, length: sealChunks(order) } satisfies SealingAnswer)
})
