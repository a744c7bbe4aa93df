import { createHash } from 'node:crypto'

/** The id of the checkpoint in this file: derived from the name alone, so it survives the loss of the index. */
export function checkpointId(fileName: string | Uint8Array): string {
  return createHash('sha256').update(fileName).digest('hex').slice(0, 16)
}
