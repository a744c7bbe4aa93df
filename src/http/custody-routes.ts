import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { CustodyReport } from '../custody/custody-verify.ts'
import type { ChainEnd } from '../custody/custody-entry.ts'
import { Router } from 'express'
import {
  custodyExportQuery,
  custodyQuery,
  custodyVerifyQuery,
  type CustodyPageResponse,
  type CustodyReportResponse,
} from '../api/custody-schemas.ts'
import { noQuery } from '../api/common-schemas.ts'
import { permittedCheckpoint } from './authorize.ts'
import { presenceOf } from './caller.ts'
import { readQuery } from './request-input.ts'
import type { HttpServices } from './services.ts'

/** Serves the custody log, its verification, and signed manifests of single archives. */
export function custodyRoutes({ custody }: Pick<HttpServices, 'custody'>): Router {
  const router = Router({ caseSensitive: true, strict: true })

  router.route('/v1/custody').get(async (req, res) => {
    const { checkpoint, after, limit } = readQuery(req, custodyQuery)
    const signal = presenceOf(res)
    const about = checkpoint === undefined ? {} : { checkpointId: checkpoint }
    const page = await custody.page({ after, limit, signal, ...about }).catch((error: unknown) => {
      if (signal.aborted) return undefined
      throw error
    })
    if (page === undefined) return
    const body: CustodyPageResponse = {
      items: page.entries.map((entry) => ({
        ...entry,
        actor: { ...entry.actor, groups: [...entry.actor.groups] },
        ...(entry.detail !== undefined && { detail: { ...entry.detail } }),
      })),
      ...(page.next !== undefined && { continue: String(page.next) }),
    }
    res.json(body)
  })

  router.route('/v1/custody/verify').get(async (req, res) => {
    const { head } = readQuery(req, custodyVerifyQuery)
    res.json(toReport(await custody.verify(head)))
  })

  router.route('/v1/custody/head').get(async (req, res) => {
    readQuery(req, noQuery)
    res.set('Cache-Control', 'no-store').json(await custody.head())
  })

  router.route('/v1/custody/export').get(async (req, res) => {
    const { after } = readQuery(req, custodyExportQuery)
    res.set('Content-Type', 'application/jsonl')
    res.set('Content-Disposition', 'attachment; filename="custody.jsonl"')
    if (req.method === 'HEAD') {
      res.end()
      return
    }
    await pipeline(Readable.from(custody.export(after)), res).catch((error: unknown) => {
      // Cuts the connection, so that the client cannot mistake a partial export for a complete one.
      if (!res.headersSent) throw error
      res.destroy()
    })
  })

  router.route('/v1/checkpoints/:id/manifest').get((req, res) => {
    readQuery(req, noQuery)
    res.json(custody.manifest(permittedCheckpoint(req)))
  })

  return router
}

function toReport({ problems, first, last, head, ...counts }: CustodyReport): CustodyReportResponse {
  return {
    verdict: counts.verdict,
    sound: counts.verdict === 'authentic',
    notChecked: [...counts.notChecked],
    problems: problems.map((problem) => ({ ...problem })),
    problemCount: counts.problemCount,
    files: counts.files,
    entries: counts.entries,
    first: first && toEnd(first),
    last: last && toEnd(last),
    head: head && toEnd(head),
    authenticatedSeq: counts.authenticatedSeq,
    keyId: counts.keyId,
  }
}

function toEnd({ seq, hash }: ChainEnd): { seq: number; hash: string } {
  return { seq, hash }
}
