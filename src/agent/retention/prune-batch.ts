import { setImmediate as nextTurn } from 'node:timers/promises'
import { checkpointChanged } from '../../checkpoint/changed-error.ts'
import type { CustodyActor, CustodyDraft } from '../../custody/custody-entry.ts'
import type { PlannedRemoval } from '../../retention/plan-types.ts'
import { AgentError, ConflictError, errorText } from '../../shared/errors.ts'
import { withoutHostPaths } from '../../shared/host-paths.ts'
import { failPoint } from '../../shared/fail-point.ts'
import type { CheckpointFile, CheckpointStore } from '../../store/checkpoint-store.ts'
import { custodyCheckpoint } from '../custody/custody.ts'
import { openDirectory, type OpenDirectory } from '../directory/open-directory.ts'
import { assertRemovableIn, unlinkArchive } from '../actions/removal.ts'
import type { LeftArchive } from '../../checkpoint/sweep-report.ts'

const NOT_AS_PLANNED = { cause: 'it is not as it was planned any more', hint: 'Look at the plan again.' }

export interface PruneTools {
  readonly directory: string
  readonly store: Pick<CheckpointStore, 'findFile' | 'findStanding'>
  readonly custody: {
    /** Resolves once all are on the disk; where it rejects nothing is removed. */
    readonly recordRemovals: (drafts: readonly CustodyDraft[]) => Promise<void>
    readonly noteAll: (drafts: readonly CustodyDraft[]) => Promise<void>
  }
  readonly isInUse: (id: string) => boolean
  readonly now: () => Date
}

export interface PruneRequest {
  readonly actor: CustodyActor
  /** What every entry says of the sweep. */
  readonly detail: Readonly<Record<string, unknown>>
  /** Whether what the plan keeps is still there: else its removals are not right any more. */
  readonly isPlanRight: () => boolean
}

export interface PruneOutcome {
  readonly removed: readonly { readonly checkpoint: CheckpointFile; readonly rule: string }[]
  /** Announced in the custody log, and still there. */
  readonly left: readonly (LeftArchive & { readonly checkpoint: CheckpointFile })[]
  /** Not even announced: seen in time not to be as planned. */
  readonly skipped: readonly LeftArchive[]
}

interface PendingRemoval {
  readonly checkpoint: CheckpointFile
  readonly planned: PlannedRemoval
  whenFreed?: Promise<void>
  failure?: { readonly code: string; readonly reason: string }
}

/** So many are unlinked before others get their turn. */
const SLICE = 8

/** The file system refused to remove a file. */
export const PRUNE_FAILED = 'PruneFailed'

/** Its removals are on record, and nothing is removed yet. */
export interface AnnouncedBatch {
  /** Looks at each file again and unlinks it. An archive that is not as it was planned stays. */
  readonly unlink: () => Promise<PrunedBatch>
}

/** Its files have no name any more; what is left to do can go on while the next batch is unlinked. */
export interface PrunedBatch {
  /** Makes it durable with one fsync, and notes how it ended. */
  readonly finish: () => Promise<PruneOutcome>
}

/** Another archive went without us, and this one may have to stay in its place. */
export const PLAN_CHANGED = 'PlanChanged'

/**
 * Announces the removal of these archives with one fsync; what was announced is to be unlinked and finished. Throws where
 * they cannot be announced; what got into the log all the same is settled at the next start.
 */
export async function announceBatch(
  removals: readonly PlannedRemoval[],
  order: PruneRequest,
  tools: PruneTools,
): Promise<AnnouncedBatch> {
  const folder = openDirectory(tools.directory)
  try {
    const chosen = choose(removals, folder, tools)
    if (chosen.pending.length > 0) await announce(chosen.pending, order, tools)
    failPoint('sweep.announced')
    const site = { order, folder, tools }
    return {
      unlink: async () => {
        await unlinkAll(chosen.pending, site)
        return { finish: () => finish(chosen, site) }
      },
    }
  } catch (error) {
    folder[Symbol.dispose]()
    throw error
  }
}

interface Chosen {
  readonly pending: readonly PendingRemoval[]
  readonly skipped: readonly LeftArchive[]
}

interface Site {
  readonly order: PruneRequest
  readonly folder: OpenDirectory
  readonly tools: PruneTools
}

function choose(removals: readonly PlannedRemoval[], folder: OpenDirectory, tools: PruneTools): Chosen {
  const pending: PendingRemoval[] = []
  const skipped: LeftArchive[] = []
  for (const planned of removals) {
    try {
      pending.push({ planned, checkpoint: findAsPlanned(planned, folder, tools) })
    } catch (error) {
      const { id, fileName } = planned.archive
      skipped.push({ id, fileName, ...failureOf(error) })
    }
  }
  return { pending, skipped }
}

function findAsPlanned({ archive }: PlannedRemoval, folder: OpenDirectory, tools: PruneTools): CheckpointFile {
  const checkpoint = tools.store.findFile(archive.id)
  if (checkpoint?.generation !== archive.generation || checkpoint.state !== archive.state)
    throw checkpointChanged(`remove checkpoint "${archive.id}"`, NOT_AS_PLANNED)
  assertRemovableIn(folder, checkpoint, tools)
  return checkpoint
}

async function announce(
  pending: readonly PendingRemoval[],
  order: PruneRequest,
  { custody }: PruneTools,
): Promise<void> {
  const drafts = pending.map(({ checkpoint, planned }) =>
    entry(checkpoint, order, {
      outcome: 'intended',
      detail: {
        generation: checkpoint.generation,
        rule: ruleOf(planned),
        reasons: planned.reasons.map(({ text }) => text),
        ...order.detail,
      },
    }),
  )
  await custody.recordRemovals(drafts)
}

async function unlinkAll(pending: readonly PendingRemoval[], { order, folder, tools }: Site): Promise<void> {
  for (const [index, item] of pending.entries()) {
    try {
      assertStillPlanned(item.checkpoint, order, tools)
      item.whenFreed = unlinkArchive(item.checkpoint, folder, tools).whenFreed
    } catch (error) {
      item.failure = failureOf(error)
    }
    failPoint('sweep.unlinked')
    if (index % SLICE === SLICE - 1) await nextTurn()
  }
}

async function finish({ pending, skipped }: Chosen, { order, folder, tools }: Site): Promise<PruneOutcome> {
  using _ = folder
  if (pending.length === 0) return { removed: [], left: [], skipped }
  for (const { whenFreed } of pending) await whenFreed
  try {
    await folder.flush()
  } catch (error) {
    // Of what was not flushed nobody can say whether it will stay away.
    for (const item of pending) item.failure ??= failureOf(error)
  }
  failPoint('sweep.flushed')
  await tools.custody.noteAll(
    pending.map(({ checkpoint, failure }) =>
      entry(checkpoint, order, failure === undefined ? { outcome: 'done' } : { outcome: 'failed', detail: failure }),
    ),
  )
  failPoint('sweep.noted')
  return {
    removed: pending
      .filter(({ failure }) => failure === undefined)
      .map(({ checkpoint, planned }) => ({ checkpoint, rule: ruleOf(planned) })),
    left: pending.flatMap(({ checkpoint, failure }) =>
      failure === undefined ? [] : [{ id: checkpoint.id, fileName: checkpoint.fileName, ...failure, checkpoint }],
    ),
    skipped,
  }
}

/** The log was written meanwhile, which takes a while. */
function assertStillPlanned(
  { id, generation, state }: CheckpointFile,
  order: PruneRequest,
  { store }: PruneTools,
): void {
  const now = store.findStanding(id)
  const isAsPlanned = now?.generation === generation && now.state === state && !now.isPinned
  if (!isAsPlanned) throw checkpointChanged(`remove checkpoint "${id}"`, NOT_AS_PLANNED)
  if (order.isPlanRight()) return
  throw new ConflictError(`Cannot remove checkpoint "${id}": the plan is another one by now`, {
    code: PLAN_CHANGED,
    hint: 'Look at the plan again.',
  })
}

function entry(
  checkpoint: CheckpointFile,
  { actor }: PruneRequest,
  { outcome, detail }: Pick<CustodyDraft, 'outcome' | 'detail'>,
): CustodyDraft {
  const about = { actor, action: 'prune', checkpoint: custodyCheckpoint(checkpoint), outcome } as const
  return detail === undefined ? about : { ...about, detail }
}

function ruleOf({ reasons }: PlannedRemoval): string {
  return reasons[0]?.rule ?? 'default'
}

function failureOf(error: unknown): { readonly code: string; readonly reason: string } {
  return { code: error instanceof AgentError ? error.code : PRUNE_FAILED, reason: withoutHostPaths(errorText(error)) }
}
