import { parentPort, workerData } from 'node:worker_threads'
import type { Blocked, Plan } from '../../retention/plan-types.ts'
import { planRetention } from '../../retention/plan.ts'
import { errorText } from '../../shared/errors.ts'
import { readRetentionRows } from '../../store/retention-rows.ts'
import type { PlanAnswer, PlanRequest } from './plan-messages.ts'
import { toPlannedArchives, withOwnValues } from './planned-archives.ts'
import type { PlanHead } from './planner.ts'

// A thread of its own: to read and judge 100,000 archives takes half a second, and so would handing them over.

/** A limit names so many archives at most that are in its way. */
const MAX_NAMED = 100

const indexFile = workerData as string
const plans = new Map<number, Plan>()

parentPort?.on('message', (request: PlanRequest) => {
  parentPort?.postMessage(answer(request))
})

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

function plan({ plan: name, policy, nowMillis, disk, inUse }: Extract<PlanRequest, { kind: 'plan' }>): PlanHead {
  const rows = readRetentionRows(indexFile)
  const archives = toPlannedArchives(rows, { nowMillis, inUse: new Set(inUse) })
  const made = planRetention({ archives, policy: policy, nowMillis, disk })
  plans.set(name, made)
  const { remove: _, keep: __, blocked, ...head } = made
  return { ...head, blocked: blocked.map(withFewNames) }
}

function withFewNames(blocked: Blocked): Blocked {
  return { ...blocked, by: blocked.by.slice(0, MAX_NAMED) }
}

function page({ plan: name, list, skip, count }: Extract<PlanRequest, { kind: 'page' }>) {
  const made = plans.get(name)
  if (made === undefined) throw new Error('it is not open any more')
  return made[list]
    .slice(skip, skip + count)
    .map(({ archive, reasons }) => ({ archive: withOwnValues(archive), reasons }))
}
