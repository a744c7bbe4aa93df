import { Router, type Request, type Response } from 'express'
import { z } from 'zod'
import { isFinal, jobState, type CaptureJob } from '../checkpoint/capture-job.ts'
import {
  captureListQuery,
  captureQuery,
  captureRequest,
  type CaptureJobList,
  type CaptureRequestBody,
} from '../api/capture-schemas.ts'
import { noQuery } from '../api/common-schemas.ts'
import { continueToken, writeToken } from '../api/continue-token.ts'
import { assertMayIn, permittedJob, visibleRows } from './authorize.ts'
import { actorOf, presenceOf } from './caller.ts'
import { toCaptureResult, toJobResponse } from './capture-response.ts'
import type { Rates } from './rates.ts'
import { jsonBody, readBody, readQuery } from './request-input.ts'
import type { Actor } from '../checkpoint/actor.ts'
import type { CaptureRequest, CaptureServices } from './capture-services.ts'
import type { Sight } from './visible-rows.ts'

/** Query of the job list; the `continue` token holds the last job of the previous page. */
const LIST_QUERY = captureListQuery.extend({ continue: continueToken(z.strictObject({ before: z.string() })) })

/** Serves captures. Each request creates a job, and the caller may wait for its result. */
export function captureRoutes(
  captures: CaptureServices,
  options: { readonly nodeName: string; readonly rates: Rates },
): Router {
  const router = Router({ caseSensitive: true, strict: true })

  router
    .route('/v1/captures')
    .get(async (req, res) => {
      const query = readQuery(req, LIST_QUERY)
      const before = query.continue?.before
      const { of, sees } = await visibleRows(req).among(() => captures.namespaces())
      const namespaces = query.namespace === undefined ? namespacesOf(of) : [query.namespace].filter(sees)
      const { jobs, remaining } = captures.list({
        limit: query.limit,
        ...(before !== undefined && { before }),
        ...(namespaces !== undefined && { namespaces }),
      })
      const last = jobs.at(-1)
      const body: CaptureJobList = {
        items: jobs.map(toJobResponse),
        continue: remaining > 0 && last !== undefined ? writeToken({ before: last.id }) : undefined,
        remaining,
      }
      res.json(body)
    })
    .post(jsonBody(), async (req, res) => {
      const query = readQuery(req, captureQuery)
      const body = readBody(req, captureRequest)
      const wait = waitOf(req, query.wait, body)
      const signal = presenceOf(res)
      await assertMayIn(req, 'create', body.namespace)
      if (body.pin === true) await assertMayIn(req, 'update', body.namespace)
      options.rates.count(req, res, 'capture')
      const job = await captures.request(toRequest(body, actorOf(req, res)))
      if (wait === undefined) {
        answerAccepted(res, job)
        return
      }
      if (wait.preference !== undefined) res.set('Preference-Applied', wait.preference)
      // A disconnect or the timeout ends only the wait; the capture continues.
      const limit = wait.timeoutMs === undefined ? {} : { timeoutMs: wait.timeoutMs }
      const later = await captures.wait(job.id, { signal, ...limit })
      if (res.destroyed) return
      if (!isFinal(jobState(later))) {
        answerAccepted(res, later)
        return
      }
      res.status(201).json(toCaptureResult(later, options.nodeName))
    })

  router
    .route('/v1/captures/:id')
    .get((req, res) => {
      readQuery(req, noQuery)
      res.json(toJobResponse(permittedJob(req)))
    })
    .delete(async (req, res) => {
      readQuery(req, noQuery)
      res.json(toJobResponse(await captures.cancel(permittedJob(req).id)))
    })

  return router
}

/** Returns the namespaces to list jobs of; undefined for all, because every job has a namespace. */
function namespacesOf(of: Sight['of']): readonly string[] | undefined {
  return typeof of === 'string' ? undefined : [...of]
}

function answerAccepted(res: Response, job: CaptureJob): void {
  res
    .status(202)
    .location(`/v1/captures/${encodeURIComponent(job.id)}`)
    .json(toJobResponse(job))
}

function toRequest(body: CaptureRequestBody, actor: Actor): CaptureRequest {
  const { namespace, pod, container, podUid, reason, pin } = body
  return {
    namespace,
    pod,
    ...(container !== undefined && { container }),
    ...(podUid !== undefined && { podUid }),
    ...(reason !== undefined && { reason }),
    ...(pin !== undefined && { pin }),
    requestedBy: actor.user,
    actor,
  }
}

/** Returns how long the caller wants to wait for the result; undefined if it does not wait. */
function waitOf(
  req: Request,
  wanted: 'true' | 'false' | undefined,
  { timeoutSeconds }: CaptureRequestBody,
): { readonly timeoutMs: number | undefined; readonly preference: string | undefined } | undefined {
  const preferred = wanted === 'false' ? undefined : preferredWaitSeconds(req.get('prefer'))
  if (wanted !== 'true' && preferred === undefined) return undefined
  const limits = [timeoutSeconds, preferred].filter((seconds) => seconds !== undefined)
  return {
    timeoutMs: limits.length === 0 ? undefined : Math.min(...limits) * 1000,
    preference: preferred === undefined ? undefined : `wait=${String(preferred)}`,
  }
}

/** Parses `Prefer: wait=N` (RFC 7240); unknown and malformed preferences are ignored. */
function preferredWaitSeconds(prefer = ''): number | undefined {
  for (const preference of prefer.split(',')) {
    const [nameAndValue = ''] = preference.split(';', 1)
    const seconds = /^wait\s*=\s*"?(\d{1,6})"?$/i.exec(nameAndValue.trim())?.[1]
    if (seconds !== undefined) return Number(seconds)
  }
  return undefined
}
