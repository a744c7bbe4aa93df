import process from 'node:process'
import type { Plan, PlanHead, PlannedArchive } from '../../retention/plan-types.ts'
import type { BlockedLimit } from '../../checkpoint/sweep-report.ts'
import { planRetention } from '../../retention/plan.ts'
import { errorText } from '../../shared/errors.ts'
import { withRetentionRows } from '../../store/retention-rows.ts'
import type { PlanAnswer, PlanRequest } from './plan-messages.ts'

// Runs in its own process (decision 13). Reading and assessing 100,000 archives takes half a second, and sending them
// would take as long. A thread would share the agent's small heap settings.

/** Maximum number of archives named as obstacles of a limit. */
const MAX_NAMED = 100

const [, , indexFile = ''] = process.argv
const plans = new Map<number, Plan>()

process.on('message', (request: PlanRequest) => {
  process.send?.(answer(request), undefined, undefined, endWhereNobodyListens)
})
// The agent has ended.
process.on('disconnect', () => process.exit())

function endWhereNobodyListens(error: Error | null): void {
  if (error !== null) process.exit(1)
}

function answer(request: PlanRequest): PlanAnswer {
  const { number } = request
  try {
    if (request.kind === 'plan') return { number, kind: 'head', head: plan(request) }
    if (request.kind === 'page') return { number, kind: 'page', page: page(request) }
    plans.delete(request.plan)
    return { number, kind: 'closed' }
  } catch (error) {
    return { number, kind: 'failed', error: errorText(error) }
  }
}

function plan({ plan: name, ...order }: Extract<PlanRequest, { kind: 'plan' }>): PlanHead {
  const { policy, nowMillis, disk, inUse, withKept } = order
  const made = withRetentionRows(indexFile, { nowMillis, inUse: new Set(inUse) }, (archives) => {
    const whole = planRetention({ archives, policy, nowMillis, disk })
    for (const { archive } of [...whole.remove, ...(withKept === true ? whole.keep : [])]) readTexts(archive)
    return whole
  })
  plans.set(name, made)
  const { id, blocked, diskNotOurs, totals } = made
  return { id, blocked: blocked.map(withFewNames), diskNotOurs, totals }
}

/** Reads the texts of an archive while the index is open, since the index changes later. */
function readTexts(archive: PlannedArchive): void {
  void archive.fileName
}

function withFewNames(blocked: BlockedLimit): BlockedLimit {
  return { ...blocked, by: blocked.by.slice(0, MAX_NAMED) }
}

function page({ plan: name, list, skip, count }: Extract<PlanRequest, { kind: 'page' }>) {
  const made = plans.get(name)
  if (made === undefined) throw new Error('it is not open any more')
  return made[list]
    .slice(skip, skip + count)
    .map(({ archive, reasons }) => ({ archive: withOwnValues(archive), reasons }))
}

/** Copies the values of a row, which is a view of a table that cannot be sent to another process. */
function withOwnValues(archive: PlannedArchive): PlannedArchive {
  return {
    id: archive.id,
    fileName: archive.fileName,
    generation: archive.generation,
    state: archive.state,
    identity: archive.identity,
    engine: archive.engine,
    sizeBytes: archive.sizeBytes,
    takenAtMillis: archive.takenAtMillis,
    modifiedAtMillis: archive.modifiedAtMillis,
    isPinned: archive.isPinned,
    isInUse: archive.isInUse,
    orphanSinceMillis: archive.orphanSinceMillis,
  }
}
