import type { Checkpoint } from '../../checkpoint/checkpoint.ts'
import type { Custody } from './custody.ts'

interface InventoryChange {
  readonly type: string
  readonly checkpoint?: Checkpoint
  readonly checkpointId?: string
}

/** Records the findings of the inventory: new archives, digests, changes and missing archives. */
export function recordInventoryChange(
  custody: Pick<Custody, 'discovered' | 'looked' | 'gone'>,
  { type, checkpoint, checkpointId }: InventoryChange,
): void {
  if (type === 'removed' && checkpointId !== undefined) void custody.gone(checkpointId)
  // The capture of the agent's own archive already has an entry, so its discovery is not recorded.
  else if (checkpoint !== undefined && checkpoint.identity.source !== 'observed') void record(custody, checkpoint)
  else if (checkpoint !== undefined) void custody.looked(checkpoint)
}

async function record(custody: Pick<Custody, 'discovered' | 'looked'>, checkpoint: Checkpoint): Promise<void> {
  await custody.discovered(checkpoint)
  await custody.looked(checkpoint)
}
