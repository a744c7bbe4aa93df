import { createHash } from 'node:crypto'

/**
 * Derives the id of a checkpoint from its file name alone, so that the id survives the loss of the
 * index.
 */
export function checkpointId(fileName: string | Uint8Array): string {
  return createHash('sha256').update(fileName).digest('hex').slice(0, 16)
}
