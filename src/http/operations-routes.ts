import { Router } from 'express'
import { noQuery } from '../api/common-schemas.ts'
import { readinessQuery, type HealthResponse, type ReadinessResponse } from '../api/agent-schemas.ts'
import { openApiDocument } from '../api/openapi.ts'
import { readQuery } from './request-input.ts'
import type { HealthCheck } from './node-services.ts'
import type { HttpServices } from './services.ts'

/**
 * Serves health, readiness, metrics and the API description. Health and readiness need no credentials, so they report
 * states, reasons and next steps without names or paths; the log has the details.
 */
export function operationsRoutes({ health, metrics }: Pick<HttpServices, 'health' | 'metrics'>): Router {
  const router = Router({ caseSensitive: true, strict: true })

  router.route('/healthz').get((req, res) => {
    readQuery(req, noQuery)
    const isAlive = health.isAlive()
    const body: HealthResponse = { status: isAlive ? 'ok' : 'failed' }
    res.status(isAlive ? 200 : 503).json(body)
  })

  router.route('/readyz').get((req, res) => {
    const { verbose = 'false' } = readQuery(req, readinessQuery)
    const checks = health.checks()
    const body: ReadinessResponse = {
      status: worstOf(checks),
      ...(verbose !== 'false' && { checks: [...checks] }),
    }
    res.status(body.status === 'failed' ? 503 : 200).json(body)
  })

  router.route('/metrics').get(async (req, res) => {
    readQuery(req, noQuery)
    const { contentType, text } = await metrics()
    res.set('Content-Type', contentType).send(Buffer.from(text))
  })

  const document = openApiDocument()
  router.route('/openapi.json').get((req, res) => {
    readQuery(req, noQuery)
    res.json(document)
  })

  return router
}

function worstOf(checks: readonly HealthCheck[]): ReadinessResponse['status'] {
  const states = new Set(checks.map(({ state }) => state))
  return (['failed', 'degraded'] as const).find((state) => states.has(state)) ?? 'ok'
}
