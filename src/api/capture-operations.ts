import {
  captureJobList,
  captureJobResponse,
  captureListQuery,
  captureQuery,
  captureRequest,
  captureResult,
} from './capture-schemas.ts'
import { defineOperations, problems, READ_PROBLEMS } from './operation.ts'

export const captureOperations = defineOperations('captures', {
  createCapture: {
    method: 'post',
    path: '/v1/captures',
    summary: 'Take a checkpoint of a container, or of every running container of a pod',
    permission: { kind: 'target', verb: 'create' },
    description:
      'Answers immediately with the job. With `wait=true`, or `Prefer: wait=N` for at most N seconds, it answers when the ' +
      'job has ended. `timeoutSeconds` and `Prefer` end the wait only: the shorter one applies, and the capture continues. ' +
      '`pin` also needs the permission to pin.',
    query: captureQuery,
    headers: [{ name: 'Prefer', description: '`wait=N`: wait for at most N seconds' }],
    body: captureRequest,
    answers: {
      201: {
        description: 'The caller waited, and the checkpoints exist',
        schema: captureResult,
        headers: ['Preference-Applied'],
      },
      202: {
        description: 'The job is queued or running',
        schema: captureJobResponse,
        headers: ['Location', 'Preference-Applied'],
      },
      ...problems(400, 401, 403, 404, 409, 413, 415, 429, 500, 501, 503, 507),
    },
  },
  listCaptures: {
    method: 'get',
    path: '/v1/captures',
    summary: 'List capture jobs, newest first',
    permission: { kind: 'rows', verb: 'get' },
    query: captureListQuery,
    answers: { 200: { description: 'A page of jobs', schema: captureJobList }, ...problems(...READ_PROBLEMS) },
  },
  getCapture: {
    method: 'get',
    path: '/v1/captures/{id}',
    summary: 'Get a capture job',
    permission: { kind: 'job', verb: 'get' },
    answers: {
      200: { description: 'The job', schema: captureJobResponse },
      ...problems(...READ_PROBLEMS, 404),
    },
  },
  cancelCapture: {
    method: 'delete',
    path: '/v1/captures/{id}',
    summary: 'Remove a job from the queue, or cancel it while it runs',
    permission: { kind: 'job', verb: 'delete' },
    description: 'Answers when the job has ended. The job is `succeeded` if the runtime finished nevertheless.',
    answers: {
      200: { description: 'The job as it ended', schema: captureJobResponse },
      ...problems(...READ_PROBLEMS, 404, 409),
    },
  },
})
