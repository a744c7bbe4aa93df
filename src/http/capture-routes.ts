import { Router, type Request, type Response } from 'express'
import { isFinal, jobState, type CaptureJob } from '../checkpoint/capture-job.ts'
import { InvalidInputError } from '../shared/errors.ts'
import {
  captureListQuery,
  captureQuery,
  captureRequest,
  type CaptureJobList,
  type CaptureRequestBody,
} from './capture-api-types.ts'
import { noQuery } from './api-types.ts'
import { assertMayIn, permittedJob, visibleRows } from './authorize.ts'
import { actorOf, presenceOf } from './caller.ts'
import { toCaptureResult, toJobResponse } from './capture-response.ts'
import type { Rates } from './rates.ts'
import { jsonBody, readBody, readQuery } from './request-input.ts'
import type { Actor } from '../checkpoint/actor.ts'
import type { CaptureRequest, CaptureServices } from './capture-services.ts'
import type { Sight } from './visible-rows.ts'

/** Taking checkpoints: a job for each request, which the caller may wait for. */
export function captureRoutes(
  captures: CaptureServices,
  options: { readonly nodeName: string; readonly rates: Rates },
): Router {
  const router = Router({ caseSensitive: true, strict: true })

  router
    .route('/v1/captures')
    .get(async (req, res) => {
      const query = readQuery(req, captureListQuery)
      const before = query.continue === undefined ? undefined : readContinue(query.continue)
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
        continue: remaining > 0 && last !== undefined ? writeContinue(last.id) : undefined,
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
      // The caller's leaving ends the wait, as its timeout does; the capture goes on.
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

/** Undefined: of all. Every job is of a namespace. */
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

/** How long the caller wants to wait; undefined when it does not. */
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

/** RFC 7240: preferences that are unknown or make no sense are passed over in silence. */
function preferredWaitSeconds(prefer = ''): number | undefined {
  for (const preference of prefer.split(',')) {
    const [nameAndValue = ''] = preference.split(';', 1)
    const seconds = /^wait\s*=\s*"?(\d{1,6})"?$/i.exec(nameAndValue.trim())?.[1]
    if (seconds !== undefined) return Number(seconds)
  }
  return undefined
}

/** The keyset: the last job of a page. Callers get it as something they have no reason to take apart. */
function writeContinue(jobId: string): string {
  return Buffer.from(JSON.stringify({ before: jobId })).toString('base64url')
}

function readContinue(token: string): string {
  try {
    const value: unknown = JSON.parse(Buffer.from(token, 'base64url').toString())
    if (typeof value === 'object' && value !== null && 'before' in value && typeof value.before === 'string') {
      return value.before
    }
  } catch {
    // Falls through: text that is no JSON is refused like JSON of another shape.
  }
  throw new InvalidInputError(`Cannot read the request query: "continue" is no token of a page of this list`, {
    code: 'InvalidRequest',
  })
}
