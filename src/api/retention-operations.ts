import {
  retentionHistory,
  retentionHistoryQuery,
  retentionPlan,
  retentionPlanQuery,
  retentionPlanRequest,
  retentionStatus,
  retentionSweepRequest,
  sweepReport,
} from './retention-schemas.ts'
import { defineOperations, problems, READ_PROBLEMS } from './operation.ts'

export const retentionOperations = defineOperations('retention', {
  getRetention: {
    method: 'get',
    path: '/v1/retention',
    summary: 'Get the retention policy in force and the last sweep',
    permission: { kind: 'node', verb: 'get', subresource: 'retention' },
    answers: { 200: { description: 'The policy', schema: retentionStatus }, ...problems(...READ_PROBLEMS) },
  },
  planRetention: {
    method: 'post',
    path: '/v1/retention/plan',
    summary: 'Plan what the policy in force, or another one, would remove now, and why',
    description: 'Removes nothing. `continue` is valid for one plan; if the plan has changed, the answer is a 409.',
    permission: { kind: 'node', verb: 'create', subresource: 'retention' },
    query: retentionPlanQuery,
    body: retentionPlanRequest,
    isBodyOptional: true,
    answers: {
      200: { description: 'A page of the plan', schema: retentionPlan },
      ...problems(...READ_PROBLEMS, 409, 413, 415, 503),
    },
  },
  sweep: {
    method: 'post',
    path: '/v1/retention/sweep',
    summary: 'Sweep: remove what the policy says',
    description: 'Answers when the sweep is over. With `planId`, only exactly that plan is carried out.',
    permission: { kind: 'node', verb: 'delete', subresource: 'retention' },
    body: retentionSweepRequest,
    isBodyOptional: true,
    answers: {
      200: { description: 'The report', schema: sweepReport },
      ...problems(...READ_PROBLEMS, 409, 413, 415, 503),
    },
  },
  listSweeps: {
    method: 'get',
    path: '/v1/retention/history',
    summary: 'List the reports of past sweeps',
    permission: { kind: 'node', verb: 'get', subresource: 'retention' },
    query: retentionHistoryQuery,
    answers: {
      200: { description: 'A page of reports', schema: retentionHistory },
      ...problems(...READ_PROBLEMS),
    },
  },
})
