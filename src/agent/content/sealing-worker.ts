import { parentPort } from 'node:worker_threads'
import { sealChunks } from '../../encryption/age-payload.ts'
import type { SealingAnswer, SealingRequest } from './sealing-threads.ts'

// Encrypts in a thread with an almost empty heap. Each chunk leaves one buffer behind, and collecting these in the
// agent's full heap takes as long as the encryption.

parentPort?.on('message', ({ id, ...order }: SealingRequest) => {
  parentPort?.postMessage({ id, length: sealChunks(order) } satisfies SealingAnswer)
})
