import type { Checkpoint } from '../../checkpoint/checkpoint.ts'
import type { Custody } from './custody.ts'

interface InventoryChange {
  readonly type: string
  readonly checkpoint?: Checkpoint
  readonly checkpointId?: string
}

/** Puts on record what the inventory finds out by itself: new archives, their digests, what was changed or is gone. */
export function recordInventoryChange(
  custody: Pick<Custody, 'discovered' | 'looked' | 'gone'>,
  { type, checkpoint, checkpointId }: InventoryChange,
): void {
  if (type === 'removed' && checkpointId !== undefined) void custody.gone(checkpointId)
  // The capture of one of ours is its entry; what is seen of it while it is being published is nothing new.
  else if (checkpoint !== undefined && checkpoint.identity.source !== 'observed') void record(custody, checkpoint)
  else if (checkpoint !== undefined) void custody.looked(checkpoint)
}

async function record(custody: Pick<Custody, 'discovered' | 'looked'>, checkpoint: Checkpoint): Promise<void> {
  await custody.discovered(checkpoint)
  await custody.looked(checkpoint)
}
