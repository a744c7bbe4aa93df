import { z } from 'zod'
import { healthResponse, readinessQuery, readinessResponse } from './agent-schemas.ts'
import { defineOperations, problems, READ_PROBLEMS } from './operation.ts'

export const agentOperations = defineOperations('agent', {
  getHealth: {
    method: 'get',
    path: '/healthz',
    summary: 'Check that the agent is alive',
    permission: { kind: 'open' },
    answers: {
      200: { description: 'The agent is alive', schema: healthResponse },
      503: { description: 'The agent is not alive', schema: healthResponse },
      ...problems(400),
    },
  },
  getReadiness: {
    method: 'get',
    path: '/readyz',
    summary: 'Check that the agent is ready',
    permission: { kind: 'open' },
    query: readinessQuery,
    answers: {
      200: { description: 'The agent is ready, perhaps degraded', schema: readinessResponse },
      503: { description: 'The agent is not ready', schema: readinessResponse },
      ...problems(400),
    },
  },
  getMetrics: {
    method: 'get',
    path: '/metrics',
    summary: 'Get metrics for Prometheus',
    permission: { kind: 'metrics' },
    answers: {
      200: { description: "Prometheus' text format", mediaType: 'text/plain' },
      ...problems(...READ_PROBLEMS),
    },
  },
  getOpenApi: {
    method: 'get',
    path: '/openapi.json',
    summary: 'Get this document',
    permission: { kind: 'authenticated' },
    answers: {
      200: { description: 'An OpenAPI 3.1 document', schema: z.looseObject({ openapi: z.string() }) },
      ...problems(400, 401, 503),
    },
  },
})
