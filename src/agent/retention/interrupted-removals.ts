import type { Checkpoint } from '../../checkpoint/checkpoint.ts'
import { AGENT_ACTOR, type CustodyDraft } from '../../custody/custody-entry.ts'
import type { OpenRemoval } from '../custody/open-removals.ts'

/**
 * Records the end of removals that an earlier run announced and did not finish. Call it after the directory was read,
 * so that every row has its file.
 */
export async function settleRemovals(
  removals: readonly OpenRemoval[],
  {
    find,
    noteAll,
  }: {
    readonly find: (id: string) => Pick<Checkpoint, 'generation'> | undefined
    readonly noteAll: (drafts: readonly CustodyDraft[]) => Promise<void>
  },
): Promise<void> {
  if (removals.length === 0) return
  await noteAll(
    removals.map(({ action, checkpoint, generation }) => {
      const about = { actor: AGENT_ACTOR, action, checkpoint }
      const detail = { found: 'after an interruption' }
      const there = find(checkpoint.id)
      if (there === undefined) return { ...about, outcome: 'done', detail }
      const isSame = generation === undefined || there.generation === generation
      // Another file of that name says nothing about the one to be removed.
      return isSame
        ? { ...about, outcome: 'failed', detail: { ...detail, code: 'Interrupted' } }
        : { ...about, outcome: 'unknown', detail: { ...detail, code: 'CheckpointChanged' } }
    }),
  )
}
