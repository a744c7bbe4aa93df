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
    /** Resolves once all entries are on disk. If it rejects, nothing is removed. */
    readonly recordRemovals: (drafts: readonly CustodyDraft[]) => Promise<void>
    readonly noteAll: (drafts: readonly CustodyDraft[]) => Promise<void>
  }
  readonly isInUse: (id: string) => boolean
  readonly now: () => Date
}

export interface PruneRequest {
  readonly actor: CustodyActor
  /** Detail that every entry has about the sweep. */
  readonly detail: Readonly<Record<string, unknown>>
  /** Returns whether the archives that the plan keeps still exist. If not, its removals are no longer valid. */
  readonly isPlanRight: () => boolean
}

export interface PruneOutcome {
  readonly removed: readonly { readonly checkpoint: CheckpointFile; readonly rule: string }[]
  /** Archives whose removal was announced in the custody log and that still exist. */
  readonly left: readonly (LeftArchive & { readonly checkpoint: CheckpointFile })[]
  /** Archives that differed from the plan before their removal was announced. */
  readonly skipped: readonly LeftArchive[]
}

interface PendingRemoval {
  readonly checkpoint: CheckpointFile
  readonly planned: PlannedRemoval
  whenFreed?: Promise<void>
  failure?: { readonly code: string; readonly reason: string }
}

/** Files unlinked before the event loop gets its turn. */
const SLICE = 8

/** Code of a removal that the file system refused. */
export const PRUNE_FAILED = 'PruneFailed'

/** A batch whose removals are recorded and not yet done. */
export interface AnnouncedBatch {
  /** Checks each file again and unlinks it. Keeps archives that differ from the plan. */
  readonly unlink: () => Promise<PrunedBatch>
}

/** A batch whose files are unlinked. It can be finished while the next batch is unlinked. */
export interface PrunedBatch {
  /** Makes the removals durable with one fsync and records their outcomes. */
  readonly finish: () => Promise<PruneOutcome>
}

/** Code of a removal that is invalid because another archive is gone. This archive may have to be kept in its place. */
export const PLAN_CHANGED = 'PlanChanged'

/**
 * Announces the removal of these archives with one fsync. Call `unlink` and `finish` on the result. If the announcement
 * fails, it throws, and entries that reached the log are settled at the next start.
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
    // Without the flush, removed files may reappear after a crash.
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

/** Checks the archive again after the log was written, which takes a while. */
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
