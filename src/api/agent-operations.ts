import { z } from 'zod'
import { healthResponse, readinessQuery, readinessResponse } from './agent-schemas.ts'
import { defineOperations, problems, READ_PROBLEMS } from './operation.ts'

export const agentOperations = defineOperations('agent', {
  getHealth: {
    method: 'get',
    path: '/healthz',
    summary: 'Whether the agent is alive',
    permission: { kind: 'open' },
    answers: {
      200: { description: 'It is', schema: healthResponse },
      503: { description: 'It is not', schema: healthResponse },
      ...problems(400),
    },
  },
  getReadiness: {
    method: 'get',
    path: '/readyz',
    summary: 'Whether the agent can do its work',
    permission: { kind: 'open' },
    query: readinessQuery,
    answers: {
      200: { description: 'It can, perhaps not all of it', schema: readinessResponse },
      503: { description: 'It cannot', schema: readinessResponse },
      ...problems(400),
    },
  },
  getMetrics: {
    method: 'get',
    path: '/metrics',
    summary: 'Metrics for Prometheus',
    permission: { kind: 'metrics' },
    answers: {
      200: { description: "Prometheus' text format", mediaType: 'text/plain' },
      ...problems(...READ_PROBLEMS),
    },
  },
  getOpenApi: {
    method: 'get',
    path: '/openapi.json',
    summary: 'This document',
    permission: { kind: 'authenticated' },
    answers: {
      200: { description: 'An OpenAPI 3.1 document', schema: z.looseObject({ openapi: z.string() }) },
      ...problems(400, 401, 503),
    },
  },
})
