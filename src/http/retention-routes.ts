import type { SweepReport } from '../checkpoint/sweep-report.ts'
import type { PlannedRemoval } from '../retention/plan-types.ts'
import { Router } from 'express'
import { z } from 'zod'
import { ConflictError } from '../shared/errors.ts'
import { noQuery } from '../api/common-schemas.ts'
import { actorOf } from './caller.ts'
import { continueToken, writeToken } from '../api/continue-token.ts'
import { optionalJsonBody, readBody, readQuery } from './request-input.ts'
import {
  retentionHistoryQuery,
  retentionPlanQuery,
  retentionPlanRequest,
  retentionSweepRequest,
  type PlannedArchiveResponse,
  type RetentionHistoryResponse,
  type RetentionPlanResponse,
  type RetentionStatusResponse,
  type SweepReportResponse,
} from '../api/retention-schemas.ts'
import type { OpenPlan, RetentionServices } from './retention-services.ts'
import { shownText } from './shown-text.ts'

const PLAN_QUERY = retentionPlanQuery.extend({
  continue: continueToken(z.strictObject({ plan: z.string(), skip: z.int().nonnegative() })),
})
const HISTORY_QUERY = retentionHistoryQuery.extend({
  continue: continueToken(z.strictObject({ before: z.string() })),
})

/** Serves the retention policy in force, its plan, sweeps and their history. */
export function retentionRoutes(retention: RetentionServices): Router {
  const router = Router({ caseSensitive: true, strict: true })

  router.route('/v1/retention').get((req, res) => {
    readQuery(req, noQuery)
    const { policy, mistakes, isSweeping, nextSweepAt, lastSweep } = retention.status()
    const body: RetentionStatusResponse = {
      policy: { ...policy },
      mistakes: [...mistakes],
      sweeping: isSweeping,
      ...(nextSweepAt !== undefined && { nextSweepAt: nextSweepAt.toISOString() }),
      ...(lastSweep !== undefined && { lastSweep: toReport(lastSweep) }),
    }
    res.json(body)
  })

  router.route('/v1/retention/plan').post(optionalJsonBody(), async (req, res) => {
    const { include, limit, continue: place } = readQuery(req, PLAN_QUERY)
    const { policy } = readBody(req, retentionPlanRequest)
    using plan = await retention.plan({ withKept: include === 'keep', ...(policy !== undefined && { policy }) })
    if (place !== undefined && place.plan !== plan.head.id) throw planChanged()
    res.json(await toPlan(plan, { skip: place?.skip ?? 0, limit, withKept: include === 'keep' }))
  })

  router.route('/v1/retention/sweep').post(optionalJsonBody(), async (req, res) => {
    readQuery(req, noQuery)
    const { planId, reason } = readBody(req, retentionSweepRequest)
    const order = {
      trigger: 'api',
      actor: actorOf(req, res),
      ...(planId !== undefined && { planId }),
      ...(reason !== undefined && { reason }),
    } as const
    res.json(toReport(await retention.sweep(order)))
  })

  router.route('/v1/retention/history').get((req, res) => {
    const { limit, continue: place } = readQuery(req, HISTORY_QUERY)
    const { reports, remaining } = retention.history({ limit, ...place })
    const last = reports.at(-1)
    const body: RetentionHistoryResponse = {
      items: reports.map(toReport),
      ...(last !== undefined && remaining > 0 && { continue: writeToken({ before: last.id }) }),
      remaining,
    }
    res.json(body)
  })

  return router
}

/** Converts a page of the plan: first the archives to remove, then those to keep. */
async function toPlan(
  { head, page }: OpenPlan,
  { skip, limit, withKept }: { readonly skip: number; readonly limit: number; readonly withKept: boolean },
): Promise<RetentionPlanResponse> {
  const { removedArchives, archives } = head.totals
  const remove = skip < removedArchives ? await page('remove', { skip, count: limit }) : []
  const room = limit - remove.length
  const keep =
    withKept && room > 0 ? await page('keep', { skip: Math.max(0, skip - removedArchives), count: room }) : []
  const next = skip + remove.length + keep.length
  const end = withKept ? archives : removedArchives
  return {
    id: head.id,
    remove: remove.map(toArchive),
    ...(withKept && { keep: keep.map(toArchive) }),
    blocked: head.blocked.map((blocked) => ({ ...blocked, by: [...blocked.by] })),
    diskNotOurs: head.diskNotOurs,
    totals: { ...head.totals },
    ...(next < end && { continue: writeToken({ plan: head.id, skip: next }) }),
  }
}

function toArchive({ archive, reasons }: PlannedRemoval): PlannedArchiveResponse {
  const { id, fileName, sizeBytes, takenAtMillis, state, identity } = archive
  const { namespace, pod, container } = identity
  return {
    id,
    fileName,
    sizeBytes,
    takenAt: new Date(takenAtMillis).toISOString(),
    state,
    ...(namespace !== undefined && { namespace }),
    ...(pod !== undefined && { pod }),
    ...(container !== undefined && { container }),
    reasons: reasons.map(({ text }) => text),
    codes: reasons.map(({ code }) => code),
  }
}

function toReport({ failed, skipped, blocked, byRule, error, ...report }: SweepReport): SweepReportResponse {
  return {
    ...report,
    ...(error !== undefined && { error: { ...error, detail: shownText(error.detail) } }),
    byRule: { ...byRule },
    failed: toLeft(failed),
    skipped: toLeft(skipped),
    blocked: blocked.map((limit) => ({ ...limit, by: [...limit.by] })),
  }
}

function toLeft({ count, archives }: SweepReport['failed']): SweepReportResponse['failed'] {
  return { count, archives: archives.map((archive) => ({ ...archive, reason: shownText(archive.reason) })) }
}

function planChanged(): ConflictError {
  return new ConflictError('Cannot show the next page: the plan is another one by now', {
    code: 'PlanChanged',
    hint: 'Begin again without "continue".',
  })
}
